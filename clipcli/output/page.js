"use strict";
(() => {
  const all = Array.from(document.querySelectorAll(".card"));
  const filter = document.getElementById("filter");
  const count = document.getElementById("count");
  const sizes = [96, 140, 200, 280, 400];
  let size = 2;

  const shown = () => all.filter((card) => !card.closest("[hidden]"));
  const current = () => (all.includes(document.activeElement) ? document.activeElement : null);

  // One card at a time takes part in the tab order, so that Tab leaves the grid.
  const stay = (card) => {
    for (const other of all) other.tabIndex = -1;
    if (card) card.tabIndex = 0;
  };
  const go = (card) => {
    if (!card) return;
    stay(card);
    card.focus();
    card.scrollIntoView({ block: "nearest" });
  };

  const sideways = (step) => {
    const cards = shown();
    const at = cards.indexOf(current());
    go(at < 0 ? cards[0] : cards[Math.min(Math.max(at + step, 0), cards.length - 1)]);
  };
  // The nearest card of the next row, by where things are on the screen.
  const upDown = (step) => {
    const from = current();
    if (!from) return sideways(1);
    const here = from.getBoundingClientRect();
    const beyond = shown()
      .map((card) => ({ card, box: card.getBoundingClientRect() }))
      .filter(({ box }) => (step > 0 ? box.top > here.top + 1 : box.top < here.top - 1));
    if (!beyond.length) return undefined;
    const tops = beyond.map(({ box }) => box.top);
    const row = step > 0 ? Math.min(...tops) : Math.max(...tops);
    const off = ({ box }) => Math.abs(box.left - here.left);
    return go(beyond.filter(({ box }) => Math.abs(box.top - row) < 2).sort((a, b) => off(a) - off(b))[0].card);
  };
  const heading = (step) => {
    const sections = Array.from(document.querySelectorAll("section:not([hidden])"));
    const at = current() ? sections.indexOf(current().closest("section")) : -1;
    const next = sections[Math.min(Math.max(at + step, 0), sections.length - 1)];
    if (!next) return;
    go(next.querySelector("li:not([hidden]) .card"));
    next.scrollIntoView({ block: "start" });
  };
  const resize = (step) => {
    size = Math.min(Math.max(size + step, 0), sizes.length - 1);
    document.documentElement.style.setProperty("--edge", `${sizes[size]}px`);
  };
  const narrow = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const card of all) {
      const text = card.querySelector(".name").textContent.toLowerCase();
      card.parentElement.hidden = !words.every((word) => text.includes(word));
    }
    for (const section of document.querySelectorAll("section")) {
      section.hidden = words.length > 0 && !section.querySelector("li:not([hidden])");
    }
    count.textContent = words.length ? `${shown().length} of ${all.length}` : "";
    stay(shown()[0]);
  };

  const keys = {
    ArrowRight: () => sideways(1), ArrowLeft: () => sideways(-1), ArrowDown: () => upDown(1), ArrowUp: () => upDown(-1),
    Home: () => go(shown()[0]), End: () => go(shown().at(-1)), n: () => heading(1), p: () => heading(-1),
    "+": () => resize(1), "-": () => resize(-1), "/": () => filter.focus(),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target === filter) {
      if (event.key === "Escape") { filter.value = ""; narrow(); }
      if (event.key === "Escape" || event.key === "Enter") { event.preventDefault(); go(shown()[0]); }
      return;
    }
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  document.addEventListener("focusin", () => { if (current()) stay(current()); });
  filter.addEventListener("input", narrow);
  stay(all[0]);
})();

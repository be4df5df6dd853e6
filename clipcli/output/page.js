"use strict";
(() => {
  const main = document.querySelector("main");
  const sections = Array.from(document.querySelectorAll("section"));
  const items = Array.from(document.querySelectorAll(".cards > li"));
  const cards = () => Array.from(document.querySelectorAll(".card"));
  const filter = document.getElementById("filter");
  const count = document.getElementById("count");
  const tools = document.querySelector(".tools");
  const chooses = "saved" in document.body.dataset;
  // What is sorted and filtered: whole sections where the page rates them as a whole, else single cards.
  const whole = sections.some(({ dataset }) => "score" in dataset || "label" in dataset);
  const units = whole ? sections : items;
  const score = (unit) => ("score" in unit.dataset ? Number(unit.dataset.score) : NaN);
  const label = (unit) => unit.dataset.label || "";
  const name = (unit) => unit.querySelector(".name")?.textContent || "";
  const textOf = (item) => Array.from(item.querySelectorAll(".answer b, .fact, .name"), (each) => each.textContent)
    .join(" ").toLowerCase();
  const homes = new Map(items.map((item) => [item, item.closest("section")]));
  const texts = new Map(items.map((item) => [item, textOf(item)]));

  const shown = () => cards().filter((card) => !card.closest("[hidden]"));
  const current = () => document.activeElement.closest(".card");
  // One card at a time takes part in the tab order, so that Tab leaves the grid.
  let stop = null;
  const stay = (card) => {
    if (stop) stop.tabIndex = -1;
    if (card) card.tabIndex = 0;
    stop = card;
  };
  const go = (card) => {
    if (!card) return;
    stay(card);
    card.focus();
    card.scrollIntoView({ block: "nearest" });
  };

  const sideways = (step) => {
    const all = shown();
    const at = all.indexOf(current());
    go(at < 0 ? all[0] : all[Math.min(Math.max(at + step, 0), all.length - 1)]);
  };
  // The nearest card of the next row, by where things are on the screen.
  const upDown = (step) => {
    const from = current();
    if (!from) return sideways(1);
    const here = from.parentElement.getBoundingClientRect();
    const beyond = shown()
      .map((card) => ({ card, box: card.parentElement.getBoundingClientRect() }))
      .filter(({ box }) => (step > 0 ? box.top > here.top + 1 : box.top < here.top - 1));
    if (!beyond.length) return undefined;
    const tops = beyond.map(({ box }) => box.top);
    const row = step > 0 ? Math.min(...tops) : Math.max(...tops);
    const off = ({ box }) => Math.abs(box.left - here.left);
    return go(beyond.filter(({ box }) => Math.abs(box.top - row) < 2).sort((a, b) => off(a) - off(b))[0].card);
  };
  const heading = (step) => {
    const open = Array.from(document.querySelectorAll("section:not([hidden])"));
    const at = current() ? open.indexOf(current().closest("section")) : -1;
    const next = open[Math.min(Math.max(at + step, 0), open.length - 1)];
    if (!next) return;
    go(next.querySelector("li:not([hidden]) .card"));
    next.scrollIntoView({ block: "start" });
  };

  // A few cards are shown large, many small.
  const sizes = [96, 140, 200, 280, 400];
  let size = 1;
  if (items.length <= 60 || chooses) size = 2;
  if ((items.length <= 6 && !chooses) || document.querySelector(".chart")) size = 3;
  const resize = (step) => {
    size = Math.min(Math.max(size + step, 0), sizes.length - 1);
    document.documentElement.style.setProperty("--edge", `${sizes[size]}px`);
  };
  resize(0);

  const element = (tag, more = {}) => Object.assign(document.createElement(tag), more);
  const offer = (text, ...controls) => {
    const made = element("label");
    made.append(`${text} `, ...controls);
    count.before(made, " ");
    return controls[0];
  };
  const choose = (id, entries) => {
    const made = element("select", { id });
    for (const [value, text] of entries) made.append(new Option(text, value));
    return made;
  };
  // Controls that have nothing to choose from are not offered.
  const counts = new Map();
  for (const unit of units) if (label(unit)) counts.set(label(unit), (counts.get(label(unit)) || 0) + 1);
  const order = Array.from(counts.keys()).sort((a, b) => a.localeCompare(b, undefined, { numeric: true }));
  const byLabel = order.length > 1 && offer(tools.dataset.labels, choose("label",
    [["", "all"], ...order.map((each, at) => [String(at + 1), `${each} (${counts.get(each)})`])]));
  const judged = !chooses && items.some((item) => item.querySelector(".good")) && items.some((item) => item.querySelector(".bad"));
  const byVerdict = judged && offer("Show", choose("verdict", [["", "all"], ["bad", "failing"], ["good", "right"]]));
  const scores = units.map(score).filter(Number.isFinite);
  const rated = scores.length > 1;
  const bound = (id, at) => element("input", { id, type: "number", step: 0.01, placeholder: at.toFixed(2) });
  const least = rated && offer("Score from", bound("least", scores.reduce((a, b) => Math.min(a, b))));
  const most = rated && offer("to", bound("most", scores.reduce((a, b) => Math.max(a, b))));
  const sorting = units.length > 1 && offer("Sort", choose("sort", [["", "as given"],
    ...(rated ? [["high", "highest score"], ["low", "lowest score"]] : []), ...(whole ? [] : [["name", "name"]])]));
  const together = !whole && rated && !document.querySelector(".chart") && sections.length > 1
    && offer("all together", element("input", { id: "together", type: "checkbox" }));

  const compare = {
    "": () => 0,
    high: (a, b) => score(b) - score(a),
    low: (a, b) => score(a) - score(b),
    name: (a, b) => name(a).localeCompare(name(b), undefined, { numeric: true }),
  };
  // What has no score comes last. The order that was given holds among equals, since sorting is stable.
  const sorted = (some, isUnits) => {
    const key = isUnits && sorting ? sorting.value : "";
    const last = (unit) => (key === "high" || key === "low") && !Number.isFinite(score(unit));
    return some.slice().sort((a, b) => last(a) - last(b) || (last(a) ? 0 : compare[key](a, b)));
  };
  const chosen = () => {
    const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = byLabel && byLabel.value ? order[byLabel.value - 1] : null;
    const verdict = byVerdict ? byVerdict.value : "";
    const [low, high] = [least, most].map((input) => (input && input.value !== "" ? Number(input.value) : NaN));
    const says = (item) => words.every((word) => texts.get(item).includes(word));
    // Written so that what has no score is in no range.
    const fits = (unit) => (wanted === null || label(unit) === wanted) && (!verdict || unit.querySelector(`.${verdict}`))
      && (Number.isNaN(low) || score(unit) >= low) && (Number.isNaN(high) || score(unit) <= high);
    const all = !words.length && wanted === null && !verdict && Number.isNaN(low) && Number.isNaN(high);
    return { all, some: new Set(items.filter((item) => says(item) && fits(whole ? homes.get(item) : item))) };
  };
  // Cards that are filtered out leave the document: hiding hundreds among others takes a browser seconds.
  const pile = element("section");
  pile.append(element("ol", { className: "cards" }));
  const update = () => {
    const { all, some } = chosen();
    const piled = Boolean(together && together.checked);
    const own = new Map(sections.map((section) => [section, []]));
    if (!piled) for (const item of sorted(items, !whole)) if (some.has(item)) own.get(homes.get(item)).push(item);
    for (const [section, inside] of own) {
      section.querySelector(".cards").replaceChildren(...inside);
      section.hidden = !inside.length && (piled || !all);
    }
    pile.firstChild.replaceChildren(...(piled ? sorted(items, true).filter((item) => some.has(item)) : []));
    main.replaceChildren(...(piled ? [pile] : []), ...sorted(sections, whole));
    document.body.classList.toggle("together", piled);
    count.textContent = all ? "" : `${some.size} of ${items.length}`;
    stay(shown()[0]);
  };

  const keys = {
    ArrowRight: () => sideways(1), ArrowLeft: () => sideways(-1), ArrowDown: () => upDown(1), ArrowUp: () => upDown(-1),
    Home: () => go(shown()[0]), End: () => go(shown().at(-1)), n: () => heading(1), p: () => heading(-1),
    "+": () => resize(1), "-": () => resize(-1), "/": () => filter.focus(),
    "?": () => { const help = document.getElementById("help"); help.open = !help.open; },
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target === filter) {
      if (event.key === "Escape") { filter.value = ""; update(); }
      if (event.key === "Escape" || event.key === "Enter") { event.preventDefault(); go(shown()[0]); }
      return;
    }
    if (event.target.matches("input:not([type=checkbox]), select")) {
      if (event.key === "Escape") go(shown()[0]);
      return;
    }
    const act = keys[event.key];
    if (act) { event.preventDefault(); act(); }
  });
  document.addEventListener("focusin", () => { if (current()) stay(current()); });
  tools.addEventListener("input", update);
  // What is gone to stands below the bar, however many lines that has.
  if (!chooses) {
    const makeRoom = () => document.documentElement.style.setProperty("--bar", `${tools.offsetHeight + 8}px`);
    new ResizeObserver(makeRoom).observe(tools);
  }
  stay(shown()[0]);
})();

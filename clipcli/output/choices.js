"use strict";
(() => {
  const items = Array.from(document.querySelectorAll("li[data-rest]"));
  const names = { keep: "keep", remove: "remove", distinct: "different picture" };

  const chosen = (item) => item.querySelector("select").value;
  const show = (item) => {
    const card = item.querySelector(".card");
    const what = chosen(item);
    card.classList.toggle("good", what !== "remove");
    card.classList.toggle("bad", what === "remove");
  };
  for (const item of items) {
    const select = document.createElement("select");
    select.setAttribute("aria-label", "What becomes of it");
    for (const [value, text] of Object.entries(names)) {
      select.append(new Option(text, value));
    }
    select.value = item.dataset.keep === "true" ? "keep" : "remove";
    select.disabled = "fixed" in item.dataset;
    select.addEventListener("change", () => { show(item); tell(); });
    // The page's own keys move between cards; here letters choose.
    select.addEventListener("keydown", (event) => event.stopPropagation());
    item.append(select);
    show(item);
  }

  const bar = document.createElement("p");
  bar.className = "bar";
  const save = document.createElement("button");
  save.id = "save";
  save.textContent = "Save the plan";
  const state = document.createElement("span");
  state.id = "state";
  state.setAttribute("aria-live", "polite");
  bar.append(save, state);
  if (document.querySelector(".difference")) {
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.id = "differences";
    box.checked = true;
    const turn = () => document.body.classList.toggle("without", !box.checked);
    box.addEventListener("change", turn);
    label.append(box, " differences from the kept picture, four times as strong ");
    const key = document.createElement("kbd");
    key.textContent = "d";
    label.append(key);
    bar.append(label);
    document.addEventListener("keydown", (event) => {
      const typing = event.target.matches("input[type=search], select");
      if (event.key !== "d" || typing || event.ctrlKey || event.altKey || event.metaKey) return;
      box.checked = !box.checked;
      turn();
    });
  }
  document.querySelector("header").append(bar);

  const barren = () => Array.from(document.querySelectorAll("section")).filter((section) => {
    const own = Array.from(section.querySelectorAll("li[data-rest]"));
    return own.length > 0 && own.every((item) => chosen(item) === "remove");
  });
  const tell = () => {
    const removed = items.filter((item) => chosen(item) === "remove").length;
    const empty = barren();
    save.disabled = empty.length > 0;
    state.textContent = empty.length
      ? `${empty[0].querySelector("h2").textContent} keeps no file`
      : `${removed} of ${items.length} files to remove`;
  };
  // The lines are put together as text: file times in nanoseconds do not fit into a number here.
  const line = (item) => {
    const what = chosen(item);
    const distinct = what === "distinct" ? ', "distinct": true' : "";
    return `{"keep": ${what !== "remove"}${distinct}${item.dataset.rest}\n`;
  };
  save.addEventListener("click", () => {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(items.map(line), { type: "application/x-ndjson" }));
    link.download = "plan.jsonl";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
  });
  tell();
})();

"use strict";
(() => {
  const items = Array.from(document.querySelectorAll("li[data-rest]"));
  const names = { keep: "keep", remove: "remove", distinct: "different picture" };
  const { saved, key } = document.body.dataset;
  const select = (item) => item.querySelector("select");
  const chosen = (item) => select(item).value;
  const suggested = (item) => (item.dataset.keep === "true" ? "keep" : "remove");
  const groups = Array.from(document.querySelectorAll("section"))
    .map((section) => ({ section, own: items.filter((item) => item.parentElement.parentElement === section) }))
    .filter(({ own }) => own.length);
  const groupOf = new Map(groups.flatMap((group) => group.own.map((item) => [item, group])));
  const isDecided = ({ section }) => section.classList.contains("decided");
  const isBarren = ({ own }) => own.every((item) => chosen(item) === "remove");

  // What was chosen outlives a reload, where the browser lets pages from files remember anything.
  const memory = {
    read: (name) => { try { return JSON.parse(localStorage.getItem(name)); } catch { return null; } },
    write: (name, value) => {
      try { localStorage.setItem(name, JSON.stringify(value)); return true; } catch { return false; }
    },
  };
  let unsaved = false;
  const remember = () => {
    const other = items.filter((item) => chosen(item) !== suggested(item));
    const kept = memory.write(`clipcli-page:${key}`, {
      chosen: Object.fromEntries(other.map((item) => [item.dataset.at, chosen(item)])),
      decided: groups.filter(isDecided).map(({ own }) => own[0].dataset.at),
    });
    unsaved = !kept;
  };
  window.addEventListener("beforeunload", (event) => { if (unsaved) event.preventDefault(); });

  const element = (tag, text, more = {}) => Object.assign(document.createElement(tag), { textContent: text, ...more });
  const button = (text, act, more = {}) => {
    const made = element("button", text, { type: "button", ...more });
    made.addEventListener("click", act);
    return made;
  };
  const show = (item) => {
    const card = item.querySelector(".card");
    const goes = chosen(item) === "remove";
    card.classList.toggle("good", !goes);
    card.classList.toggle("bad", goes);
  };
  const set = (item, what) => {
    if ("fixed" in item.dataset) return;
    select(item).value = what;
    show(item);
  };
  const decide = (group, yes = true) => {
    group.section.classList.toggle("decided", yes);
    group.mark.textContent = yes ? "✓ decided" : "undecided";
  };
  const done = (touched) => { touched.forEach((group) => decide(group)); tell(); remember(); };

  // One file of each group stays: the one that the others were compared with.
  const acts = {
    suggested: ({ own }) => own.forEach((item) => set(item, suggested(item))),
    keep: ({ own }) => own.forEach((item) => set(item, "keep")),
    remove: ({ own }) => own.forEach((item, at) => set(item, at ? "remove" : "keep")),
  };
  const words = { suggested: "as suggested", keep: "keep all", remove: "remove all but one" };
  const onGroups = (what, some) => { some.forEach(acts[what]); done(some); };
  const shown = () => groups.filter(({ section }) => !section.hidden);

  for (const item of items) {
    const made = document.createElement("select");
    made.setAttribute("aria-label", "What becomes of it");
    for (const [value, text] of Object.entries(names)) made.append(new Option(text, value));
    made.value = suggested(item);
    made.disabled = "fixed" in item.dataset;
    made.addEventListener("change", () => { show(item); done([groupOf.get(item)]); });
    // The page's own keys move between cards; here letters choose.
    made.addEventListener("keydown", (event) => event.stopPropagation());
    item.append(made);
    show(item);
  }
  for (const group of groups) {
    const row = element("p", "", { className: "bar choose" });
    group.mark = element("span", "undecided", { className: "undecided" });
    row.append(group.mark);
    for (const [what, text] of Object.entries(words)) row.append(button(text, () => onGroups(what, [group])));
    group.section.querySelector("h2").after(row);
  }

  // Folders: a group whose every kept file goes keeps one from elsewhere in its place.
  const folders = element("select", "", { id: "folder" });
  folders.setAttribute("aria-label", "Folder");
  const count = new Map();
  for (const { dataset } of items) count.set(dataset.folder, (count.get(dataset.folder) || 0) + 1);
  for (const name of Array.from(count.keys()).sort()) {
    folders.append(new Option(`${name || "."} (${count.get(name)})`, name));
  }
  const onFolder = (what) => {
    const inside = (item) => item.dataset.folder === folders.value;
    const some = shown().filter(({ own }) => own.some(inside));
    for (const { own } of some) {
      for (const item of own) if (inside(item)) set(item, what);
      if (isBarren({ own })) set(own.find((item) => !inside(item)) || own[0], "keep");
    }
    done(some);
  };

  const save = button("Save the plan", () => download(), { id: "save" });
  const state = element("span", "", { id: "state" });
  state.setAttribute("aria-live", "polite");
  const next = button("next undecided", () => go(), { id: "next" });
  next.append(" ", element("kbd", "u"));
  const top = element("p", "", { className: "bar" });
  top.append(save, state, next);
  const all = element("span", "all groups: ", { className: "folders" });
  for (const [what, text] of Object.entries(words)) {
    all.append(button(text, () => onGroups(what, shown()), { id: `all-${what}` }));
  }
  top.append(all);
  const places = element("span", "files in ", { className: "folders" });
  places.append(folders, button("keep", () => onFolder("keep"), { id: "folder-keep" }),
    button("remove", () => onFolder("remove"), { id: "folder-remove" }));
  top.append(places);
  const command = element("code", "", { id: "command" });
  const hint = element("span", "");
  const below = element("p", "", { className: "bar" });
  below.append(hint, command);
  const bar = element("div", "", { className: "choices" });
  bar.append(top, below);
  document.querySelector(".tools").after(bar);
  // What is gone to stands below the bar, however many lines that has.
  const makeRoom = () => document.documentElement.style.setProperty("--bar", `${bar.offsetHeight}px`);
  new ResizeObserver(makeRoom).observe(bar);

  let differences = null;
  if (document.querySelector(".difference")) {
    const label = document.createElement("label");
    differences = element("input", "", { type: "checkbox", id: "differences", checked: true });
    differences.addEventListener("change", () => document.body.classList.toggle("without", !differences.checked));
    label.append(differences, " differences from the kept picture, four times as strong ", element("kbd", "d"));
    top.append(label);
  }

  const go = () => {
    const open = groups.filter((group) => isBarren(group) || (!isDecided(group) && !group.section.hidden));
    if (!open.length) return;
    const here = document.activeElement.closest("section");
    const after = open.find(({ section }) => here
      && (here.compareDocumentPosition(section) & Node.DOCUMENT_POSITION_FOLLOWING));
    const { section } = open.find(isBarren) || after || open[0];
    section.querySelector("li:not([hidden]) .card").focus({ preventScroll: true });
    section.scrollIntoView({ block: "start" });
  };
  const current = () => {
    const item = document.activeElement.closest("li[data-rest]");
    return item && groupOf.has(item) ? item : null;
  };
  const keys = {
    u: go,
    d: () => differences && differences.click(),
    k: () => current() && (set(current(), "keep"), done([groupOf.get(current())])),
    r: () => current() && (set(current(), "remove"), done([groupOf.get(current())])),
    o: () => current() && done([groupOf.get(current())]),
  };
  document.querySelector(".keys").append(" ", element("kbd", "k"), element("kbd", "r"), " keep and remove ",
    element("kbd", "o"), " as it is ", element("kbd", "u"), " next undecided");
  document.addEventListener("keydown", (event) => {
    const typing = event.target.matches("input:not([type=checkbox]), select");
    if (typing || event.ctrlKey || event.altKey || event.metaKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  const size = (bytes) => {
    const units = ["bytes", "kB", "MB", "GB", "TB"];
    let at = 0;
    while (bytes >= 1000 && at < units.length - 1) { bytes /= 1000; at += 1; }
    return `${bytes < 10 && at ? bytes.toFixed(1) : Math.round(bytes)} ${units[at]}`;
  };
  const tell = () => {
    const removed = items.filter((item) => chosen(item) === "remove");
    const loose = removed.filter((item) => item.dataset.loose === "true").length;
    const barren = groups.filter(isBarren);
    const left = groups.filter((group) => !isDecided(group)).length;
    save.disabled = barren.length > 0;
    next.disabled = left === 0 && !barren.length;
    // A file is freed with the last of its names.
    const gone = new Map();
    let bytes = 0;
    for (const { dataset } of removed) {
      gone.set(dataset.file, (gone.get(dataset.file) || 0) + 1);
      if (gone.get(dataset.file) === Number(dataset.names)) bytes += Number(dataset.bytes);
    }
    state.textContent = barren.length
      ? `${barren[0].section.querySelector("h2").textContent} keeps no file`
      : `${removed.length} of ${items.length} files to remove (${size(bytes)})`
        + (loose ? `, ${loose} of them no copies` : "")
        + (left ? `; ${left} of ${groups.length} groups undecided` : "; every group decided");
    say("Save, then run:", name());
  };

  // Each file that is saved has a name of its own, so that the command below never means an earlier one.
  const counter = `clipcli-saved:${saved}`;
  let times = memory.read(counter) || 0;
  const name = () => (times ? saved.replace(/\.jsonl$/, `-${times + 1}.jsonl`) : saved);
  const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'"'"'`)}'`);
  const say = (before, file) => {
    const distinct = items.some((item) => chosen(item) === "distinct") ? " --ignore-file different.txt" : "";
    hint.textContent = before;
    command.textContent = `clipcli apply ${quoted(file)}${distinct}`;
  };
  // The lines are put together as text: file times in nanoseconds do not fit into a number here.
  const line = (item) => {
    const what = chosen(item);
    const distinct = what === "distinct" ? ', "distinct": true' : "";
    return `{"keep": ${what !== "remove"}${distinct}${item.dataset.rest}\n`;
  };
  const download = () => {
    const ordered = items.slice().sort((a, b) => a.dataset.at - b.dataset.at);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob(ordered.map(line), { type: "application/x-ndjson" }));
    link.download = name();
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    say("Saved. In the folder where your browser saves files, run:", name());
    times += 1;
    memory.write(counter, times);
    unsaved = false;
  };

  const before = memory.read(`clipcli-page:${key}`);
  if (before) {
    for (const item of items) if (before.chosen[item.dataset.at] in names) set(item, before.chosen[item.dataset.at]);
    for (const group of groups) decide(group, before.decided.includes(group.own[0].dataset.at));
  }
  tell();
})();

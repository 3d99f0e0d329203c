// What somebody ran, kept in this browser alone, by tenant and person.
(() => {
  "use strict";

  const form = document.querySelector("[data-console]");
  const panel = document.querySelector("[data-history-panel]");
  if (!form || !panel) return;
  const key = `console-history:${form.dataset.history}`;
  const list = panel.querySelector("[data-history-list]");
  const search = panel.querySelector("[data-history-search]");
  const empty = panel.querySelector("[data-history-empty]");
  const MOST = 200;
  const LONGEST = 10_000;

  function read() {
    try {
      const kept = JSON.parse(localStorage.getItem(key) || "[]");
      return Array.isArray(kept) ? kept : [];
    } catch {
      return [];
    }
  }

  function write(entries) {
    try {
      localStorage.setItem(key, JSON.stringify(entries));
    } catch {
      // Storage is full or switched off: the page works without a past.
    }
  }

  function button(name, label, act) {
    const made = document.createElement("button");
    made.type = "button";
    made.className = name;
    made.append(label);
    made.addEventListener("click", act);
    return made;
  }

  function load(sql, isRun) {
    dispatchEvent(new CustomEvent("console:load", { detail: { sql, isRun } }));
  }

  function row(entry) {
    const item = document.createElement("li");
    const code = document.createElement("code");
    code.textContent = entry.sql;
    const open = button("history-open", code, () => load(entry.sql, false));
    open.title = "Put this into the editor";
    const when = document.createElement("span");
    when.className = "caption mu";
    const moment = new Date(entry.at);
    when.textContent = `${moment.toLocaleString([], { dateStyle: "medium", timeStyle: "short" })}, ${
      entry.isRefused ? "refused" : `${Math.max(1, Math.round(entry.ms))} ms`
    }`;
    const again = button("button ghost small", "Run again", () => load(entry.sql, true));
    const name = document.createElement("span");
    name.className = "sr";
    name.textContent = `: ${entry.sql.slice(0, 80)}`;
    again.append(name);
    item.append(open, when, again);
    return item;
  }

  function show() {
    const words = search.value.trim().toLowerCase();
    const entries = read();
    const found = entries.filter((each) => each.sql.toLowerCase().includes(words));
    list.replaceChildren(...found.slice(0, 50).map(row));
    empty.hidden = found.length > 0;
    empty.textContent = entries.length
      ? `Nothing in the history has “${search.value.trim()}”.`
      : "What you run is listed here.";
  }

  addEventListener("console:ran", ({ detail }) => {
    if (!detail.sql.trim() || detail.sql.length > LONGEST) return;
    const others = read().filter((each) => each.sql !== detail.sql);
    write([{ ...detail, at: Date.now() }, ...others].slice(0, MOST));
    show();
  });
  search.addEventListener("input", show);
  panel.querySelector("[data-history-clear]").addEventListener("click", () => {
    write([]);
    search.value = "";
    show();
  });
  show();
})();

// The grid: cells by keyboard, edits that wait in this tab until they are reviewed.
(() => {
  "use strict";

  const all = (selector, from = document) => [...from.querySelectorAll(selector)];
  const tenant = document.body.dataset.tenant;
  const place = (table) => `studio:${tenant}:${table}`;

  // Edits live in the tab: { "key\ncolumn": { key, column, old, new } }.
  const load = (table) => {
    try {
      return JSON.parse(sessionStorage.getItem(place(table)) ?? "{}");
    } catch {
      return {};
    }
  };
  const keep = (table, edits) => {
    try {
      sessionStorage.setItem(place(table), JSON.stringify(edits));
    } catch {
      // Without storage the edits last as long as the page.
    }
  };

  // The review holds the edits itself: what is refused comes back to the grid from here.
  const saving = document.querySelector("[data-saving]");
  if (saving) {
    const { table } = saving.dataset;
    const edits = JSON.parse(saving.elements.edits.value);
    const names = (each) => [`${each.key}\n${each.column}`, each];
    keep(table, { ...load(table), ...Object.fromEntries(edits.map(names)) });
    saving.addEventListener("submit", () => keep(table, {}));
  }

  // Ctrl+S, or Cmd+S: from the grid to the review, and from there into the database.
  document.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "s") return;
    const next = document.querySelector("[data-staged]:not([hidden]), [data-saving]");
    const button = next?.querySelector("[type=submit]");
    if (!button) return;
    event.preventDefault();
    document.activeElement?.blur?.();
    next.requestSubmit(button);
  });

  const grid = document.querySelector("[data-grid]");
  if (!grid) return;
  const { table } = grid.dataset;
  const edits = load(table);
  const bar = document.querySelector("[data-staged]");
  const heads = Object.fromEntries(all("th[data-column]", grid).map((th) => [th.dataset.column, th]));
  const rows = all("tbody tr", grid);
  const cellsOf = (row) => [...row.cells];
  const columnOf = (cell) => cell.dataset.label;
  const nameOf = (cell) => `${cell.parentElement.dataset.key}\n${columnOf(cell)}`;

  // What the server sent: null, or the exact text.
  const sent = (cell) => {
    if (cell.classList.contains("look-null")) return null;
    if (cell.classList.contains("look-empty")) return "";
    return cell.dataset.raw ?? cell.textContent.trim();
  };
  const now = (cell) => (nameOf(cell) in edits ? edits[nameOf(cell)].new : sent(cell));

  all("td[data-edit]", grid).forEach((cell) => {
    cell.was = { markup: [...cell.childNodes].map((node) => node.cloneNode(true)), value: sent(cell) };
  });

  function draw(cell) {
    const edit = edits[nameOf(cell)];
    cell.classList.toggle("changed", Boolean(edit));
    cell.classList.remove("editing");
    if (!edit) {
      cell.replaceChildren(...cell.was.markup.map((node) => node.cloneNode(true)));
      cell.removeAttribute("title");
      return;
    }
    const shown = document.createElement("span");
    shown.textContent = edit.new === null ? "null" : edit.new === "" ? '""' : edit.new;
    if (edit.new === null || edit.new === "") shown.className = "nothing";
    cell.replaceChildren(shown);
    cell.title = `Not saved. It was ${edit.old === null ? "null" : edit.old}`;
  }

  function stage(cell, value) {
    const old = cell.was.value;
    if (value === old) delete edits[nameOf(cell)];
    else edits[nameOf(cell)] = { key: cell.parentElement.dataset.key, column: columnOf(cell), old, new: value };
    keep(table, edits);
    draw(cell);
    count();
  }

  function count() {
    const total = Object.keys(edits).length;
    const others = Object.values(edits).filter((each) => !rows.some((row) => row.dataset.key === each.key)).length;
    bar.hidden = total === 0;
    const elsewhere = others ? `, ${others} on other pages` : "";
    bar.querySelector("[data-staged-count]").textContent = `${total} ${total === 1 ? "cell" : "cells"} changed${elsewhere},`;
    bar.elements.edits.value = JSON.stringify(Object.values(edits));
  }

  function editorOf(head, value) {
    const { kind, words } = head.dataset;
    const choices = kind === "bool" ? ["true", "false"] : words?.split(" ");
    const editor = document.createElement(choices ? "select" : "input");
    editor.className = "editor";
    editor.setAttribute("aria-label", head.dataset.column);
    if (!choices) {
      editor.spellcheck = false;
      editor.value = value ?? "";
      if (value === null) editor.placeholder = "null";
      return editor;
    }
    if ("nullable" in head.dataset) editor.add(new Option("null", ""));
    choices.forEach((word) => editor.add(new Option(word, word)));
    editor.value = value ?? "";
    return editor;
  }

  function edit(cell) {
    if (!("edit" in cell.dataset) || cell.classList.contains("editing")) return;
    const head = heads[columnOf(cell)];
    const before = now(cell);
    const editor = editorOf(head, before);
    let isOver = false;
    function end(takes, move) {
      if (isOver) return;
      isOver = true;
      const text = editor.value;
      // An empty field of a column that holds no texts is null; of a text it stays what it was.
      const isNull = text === "" && (before === null || head.dataset.kind !== "text");
      const value = isNull ? ("nullable" in head.dataset ? null : before) : text;
      if (takes) stage(cell, value);
      else draw(cell);
      if (move) focus(move === "down" ? below(cell, 1) ?? cell : cell);
    }
    cell.replaceChildren(editor);
    cell.classList.add("editing");
    editor.focus();
    editor.select?.();
    editor.addEventListener("blur", () => end(true));
    editor.addEventListener("keydown", (event) => {
      event.stopPropagation();
      if (event.key === "Escape") end(false, "stay");
      else if (event.key === "Enter") end(true, "down");
      else if (event.key === "Tab") end(true, "stay");
      else return;
      event.preventDefault();
    });
  }

  // One cell of the grid is in the order of the Tab key; arrows move it.
  let current = null;
  function focus(cell) {
    if (!cell) return;
    if (current) current.tabIndex = -1;
    current = cell;
    cell.tabIndex = 0;
    cell.focus();
    cell.scrollIntoView({ block: "nearest", inline: "nearest" });
  }
  const below = (cell, by) => rows[rows.indexOf(cell.parentElement) + by]?.cells[cell.cellIndex];
  all("td", grid).forEach((cell) => {
    cell.tabIndex = -1;
    all("a, input", cell).forEach((inner) => {
      inner.tabIndex = -1;
    });
  });
  current = rows[0]?.cells[rows[0].cells.length > 1 ? 1 : 0] ?? null;
  if (current) current.tabIndex = 0;

  function open(cell) {
    const link = cell.querySelector("a, input");
    if (link) link.click();
    else edit(cell);
  }

  async function copy(cell) {
    const value = now(cell);
    try {
      await navigator.clipboard.writeText(value ?? "");
      cell.classList.add("copied");
      setTimeout(() => cell.classList.remove("copied"), 600);
    } catch {
      // The browser keeps the clipboard to itself.
    }
  }

  const acts = {
    ArrowRight: (cell) => focus(cell.nextElementSibling),
    ArrowLeft: (cell) => focus(cell.previousElementSibling),
    ArrowDown: (cell) => focus(below(cell, 1)),
    ArrowUp: (cell) => focus(below(cell, -1)),
    j: (cell) => focus(below(cell, 1)),
    k: (cell) => focus(below(cell, -1)),
    Home: (cell) => focus(cellsOf(cell.parentElement)[0]),
    End: (cell) => focus(cellsOf(cell.parentElement).at(-1)),
    Enter: open,
    F2: edit,
    e: edit,
    n: (cell) => "edit" in cell.dataset && "nullable" in heads[columnOf(cell)].dataset && stage(cell, null),
    u: (cell) => "edit" in cell.dataset && stage(cell, cell.was.value),
    c: copy,
    x: (cell) => cell.parentElement.querySelector("[data-pick]")?.click(),
  };
  grid.addEventListener("keydown", (event) => {
    const cell = event.target.closest("td");
    if (!cell || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (event.target.matches(".editor")) return;
    const act = acts[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!act) return;
    event.preventDefault();
    event.stopPropagation();
    act(cell);
  });
  grid.addEventListener("click", (event) => {
    const cell = event.target.closest("td");
    if (cell && !event.target.closest("a, input, select")) focus(cell);
  });
  grid.addEventListener("dblclick", (event) => {
    const cell = event.target.closest("td[data-edit]");
    if (cell) edit(cell);
  });

  document.querySelector("[data-discard]").addEventListener("click", () => {
    Object.keys(edits).forEach((name) => delete edits[name]);
    keep(table, edits);
    all("td[data-edit]", grid).forEach(draw);
    count();
    focus(current);
  });

  all("td[data-edit]", grid).filter((cell) => nameOf(cell) in edits).forEach(draw);
  count();
})();

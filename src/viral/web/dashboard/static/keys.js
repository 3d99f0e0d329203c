// The keyboard: single keys, jumps by two, and the palette. The list of them is navigation.py's.
(() => {
  "use strict";

  const JUMP_MS = 1500;
  const SEARCH_MS = 120;
  const keys = document.getElementById("keys");
  const palette = document.getElementById("palette");
  const words = document.getElementById("palette-words");
  const list = document.getElementById("palette-list");
  const none = palette.querySelector(".palette-none");
  const first = (selector) => document.querySelector(selector);
  const isSeen = (element) => element.getClientRects().length > 0;

  function hasSingleKeys() {
    try {
      return localStorage.getItem("single-keys") !== "off";
    } catch {
      return true;
    }
  }
  const choice = first("[data-single-keys]");
  if (choice) {
    choice.checked = hasSingleKeys();
    choice.addEventListener("change", () => {
      try {
        localStorage.setItem("single-keys", choice.checked ? "on" : "off");
      } catch {
        choice.checked = true;
      }
    });
  }

  function generate() {
    const field = first("[data-generate] input:not([type=hidden])");
    if (!field) return first("[data-jump=g]").click();
    field.focus();
    field.select();
  }

  function search() {
    const field = [...document.querySelectorAll("[data-search]")].find(isSeen);
    if (!field) return openPalette();
    field.focus();
    field.select();
  }

  // Rows: the one that has the focus, or holds it, is the current one.
  const rows = () => [...document.querySelectorAll("[data-row]")].filter(isSeen);
  const currentRow = () => {
    const at = document.activeElement;
    // A form leads back to its row by the address alone.
    return (at && at !== document.body ? at : first(":target"))?.closest("[data-row]");
  };
  function step(by) {
    const every = rows();
    if (!every.length) return;
    const at = every.indexOf(currentRow());
    const row = every[Math.max(0, Math.min(every.length - 1, at + by))];
    row.tabIndex = -1;
    row.focus({ preventScroll: true });
    row.scrollIntoView({ block: "nearest" });
  }
  function openRow(event) {
    // On a link or a button Enter is its own.
    if (document.activeElement !== currentRow()) return false;
    const link = currentRow()?.querySelector("a[href], summary");
    link?.click();
    return Boolean(link);
  }
  const favorite = () => currentRow()?.querySelector("[data-favorite]")?.click();

  let jumpsUntil = 0;
  const single = {
    g: generate,
    t: () => first("[data-theme-switch]").click(),
    j: () => step(1),
    k: () => step(-1),
    f: favorite,
    h: () => (jumpsUntil = performance.now() + JUMP_MS),
    "/": search,
    "?": () => keys.showModal(),
    enter: openRow,
  };

  document.addEventListener("keydown", (event) => {
    const key = event.key.toLowerCase();
    if (event.isComposing) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && key === "k") {
      event.preventDefault();
      return palette.open ? palette.close() : openPalette();
    }
    if (event.ctrlKey || event.altKey || event.metaKey || !hasSingleKeys()) return;
    if (document.querySelector("dialog[open]")) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea, [contenteditable]")) return;
    const page = performance.now() < jumpsUntil && first(`[data-jump="${CSS.escape(key)}"]`);
    jumpsUntil = 0;
    const act = page ? () => page.click() : Object.hasOwn(single, key) && single[key];
    if (act && act(event) !== false) event.preventDefault();
  });

  // The palette: a combobox over a listbox (ARIA Authoring Practices 1.2, combobox pattern).
  const fixed = [...list.children];
  let found = [];
  let chosen = null;
  let timer = 0;
  let asked = null;

  function openPalette() {
    keys.close();
    words.value = "";
    found = [];
    show();
    palette.showModal();
    words.focus();
  }

  function show() {
    const wanted = words.value.toLowerCase().split(/\s+/).filter(Boolean);
    const fits = (option) => wanted.every((word) => option.textContent.toLowerCase().includes(word));
    const shown = [...fixed.filter(fits), ...found];
    list.replaceChildren(...shown);
    shown.forEach((option, number) => (option.id = `palette-${number}`));
    list.hidden = !shown.length;
    none.textContent = shown.length ? "" : `Nothing is called “${words.value.trim()}”.`;
    words.setAttribute("aria-expanded", String(Boolean(shown.length)));
    choose(shown[0] ?? null);
  }

  function choose(option) {
    chosen?.setAttribute("aria-selected", "false");
    chosen = option;
    chosen?.setAttribute("aria-selected", "true");
    chosen?.scrollIntoView({ block: "nearest" });
    if (chosen) words.setAttribute("aria-activedescendant", chosen.id);
    else words.removeAttribute("aria-activedescendant");
  }

  function act(option) {
    palette.close();
    const { href, press, tenant } = option.dataset;
    if (href) location.assign(href);
    if (press) first(press).click();
    if (tenant) first(`#tenants button[value="${CSS.escape(tenant)}"]`).click();
  }

  function concept({ title, category, href }) {
    const option = document.createElement("li");
    const [name, hint] = [document.createElement("span"), document.createElement("span")];
    option.setAttribute("role", "option");
    option.setAttribute("aria-selected", "false");
    option.dataset.href = href;
    name.textContent = title;
    hint.className = "caption mu";
    hint.textContent = category;
    option.append(first("[data-jump=y] .icon").cloneNode(true), name, hint);
    return option;
  }

  async function ask() {
    asked?.abort();
    const said = words.value.trim();
    if (said.length < 2) return;
    asked = new AbortController();
    try {
      const answer = await fetch(`/palette?q=${encodeURIComponent(said)}`, { signal: asked.signal });
      if (!answer.ok || answer.redirected) return;
      found = (await answer.json()).map(concept);
      show();
    } catch {
      // Another letter was typed, or nobody answers: pages and actions stand.
    }
  }

  words.addEventListener("input", () => {
    found = [];
    show();
    clearTimeout(timer);
    timer = setTimeout(ask, SEARCH_MS);
  });
  words.addEventListener("keydown", (event) => {
    const every = [...list.children];
    const at = every.indexOf(chosen);
    const next = { ArrowDown: at + 1, ArrowUp: at - 1 };
    if (event.key in next && every.length) {
      event.preventDefault();
      choose(every[(next[event.key] + every.length) % every.length]);
    }
    if (event.key === "Enter" && chosen && !event.isComposing) {
      event.preventDefault();
      act(chosen);
    }
  });
  list.addEventListener("click", (event) => {
    const option = event.target.closest("[role=option]");
    if (option) act(option);
  });
  // Beside the dialog: it closes, as a menu does.
  palette.addEventListener("click", (event) => event.target === palette && palette.close());
  document.querySelectorAll("[data-palette]").forEach((button) => {
    button.addEventListener("click", openPalette);
  });
})();

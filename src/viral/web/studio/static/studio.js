// Studio's comforts; every page reads and every form posts without this file.
(() => {
  "use strict";

  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  // The list of tables: filter as you type.
  const find = document.querySelector("[data-find]");
  find?.addEventListener("input", () => {
    const word = find.value.trim().toLowerCase();
    let shown = 0;
    all("[data-tables]").forEach((group) => {
      const items = all("li", group);
      items.forEach((item) => {
        item.hidden = !item.textContent.toLowerCase().includes(word);
      });
      const left = items.filter((item) => !item.hidden).length;
      group.hidden = left === 0;
      shown += left;
    });
    document.querySelector("[data-none]").hidden = shown > 0;
  });
  find?.addEventListener("keydown", (event) => {
    if (event.key === "Enter") document.querySelector("[data-tables] li:not([hidden]) a")?.click();
  });
  document.querySelector(".side-link[aria-current]")?.scrollIntoView({ block: "nearest" });

  // Single keys act outside fields, unless the person has switched them off (WCAG 2.2, 2.1.4).
  function hasSingleKeys() {
    try {
      return localStorage.getItem("single-keys") !== "off";
    } catch {
      return true;
    }
  }
  const choice = document.querySelector("[data-single-keys]");
  choice.checked = hasSingleKeys();
  choice.addEventListener("change", () => {
    try {
      localStorage.setItem("single-keys", choice.checked ? "on" : "off");
    } catch {
      choice.checked = true;
    }
  });
  // On the diagram, the search is the drawing's own.
  const search = document.querySelector("[data-er-search]") ?? find;
  const single = {
    "/": () => {
      const side = document.getElementById("tables");
      if (search === find && getComputedStyle(side).display === "none") side.showPopover();
      search.focus();
      search.select();
    },
    t: () => document.querySelector("[data-theme-switch]").click(),
    "?": () => document.getElementById("keys").showModal(),
  };
  document.addEventListener("keydown", (event) => {
    const act = single[event.key.toLowerCase()];
    if (!act || event.ctrlKey || event.altKey || event.metaKey || event.isComposing) return;
    if (!hasSingleKeys() || document.querySelector("dialog[open]")) return;
    if (event.target.closest("input:not([type=checkbox]), select, textarea")) return;
    event.preventDefault();
    act();
  });

  // A part of a page from the server. An ended session answers with the door instead.
  async function part(address) {
    const answer = await fetch(address, { headers: { Accept: "text/html" } });
    if (!answer.ok || answer.redirected) throw new Error(String(answer.status));
    return new DOMParser().parseFromString(await answer.text(), "text/html").body.childNodes;
  }

  // Documents open at the side; without this script the link leads to the row.
  const drawer = document.getElementById("drawer");
  document.addEventListener("click", async (event) => {
    const link = event.target.closest("[data-document]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    const body = drawer.querySelector("[data-drawer-body]");
    drawer.querySelector("[data-drawer-title]").textContent = link.dataset.name;
    try {
      body.replaceChildren(...(await part(link.dataset.document)));
    } catch {
      location.href = link.href;
      return;
    }
    drawer.showModal();
  });

  // What a link names, on hover and on focus.
  let card = null;
  let waiting = 0;
  const known = new Map();
  function hide() {
    clearTimeout(waiting);
    card?.remove();
    card = null;
  }
  async function preview(link) {
    const address = link.dataset.preview;
    try {
      if (!known.has(address)) known.set(address, [...(await part(address))]);
    } catch {
      known.set(address, null);
    }
    const parts = known.get(address);
    hide();
    if (!parts || !(link.matches(":hover") || link.matches(":focus"))) return;
    card = document.createElement("div");
    card.className = "preview";
    card.setAttribute("role", "tooltip");
    card.append(...parts.map((node) => node.cloneNode(true)));
    document.body.append(card);
    const box = link.getBoundingClientRect();
    const under = box.bottom + 8 + card.offsetHeight < innerHeight;
    card.style.left = `${Math.max(8, Math.min(box.left, innerWidth - card.offsetWidth - 8))}px`;
    card.style.top = `${under ? box.bottom + 8 : box.top - card.offsetHeight - 8}px`;
  }
  const soon = (event) => {
    const link = event.target.closest?.("[data-preview]");
    hide();
    if (link) waiting = setTimeout(() => preview(link), 250);
  };
  document.addEventListener("pointerover", soon);
  document.addEventListener("focusin", soon);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
  document.addEventListener("scroll", hide, true);

  // Only conditions that the chosen column knows.
  const filters = document.querySelector("[data-filters]");
  if (filters) {
    const { column, operator, value } = filters.elements;
    const conditions = [...operator.options];
    const words = document.getElementById("filter-words");
    const fit = () => {
      const option = column.selectedOptions[0];
      const allowed = option?.dataset.operators?.split(" ");
      const before = operator.value;
      const left = conditions.filter((each) => !allowed || allowed.includes(each.value));
      operator.replaceChildren(...left);
      operator.value = left.some((each) => each.value === before) ? before : left[0].value;
      words.replaceChildren(...(option?.dataset.words?.split(" ") ?? []).filter(Boolean).map((word) => new Option(word, word)));
      show();
    };
    const show = () => {
      value.hidden = operator.value.endsWith("null");
    };
    column.addEventListener("change", fit);
    operator.addEventListener("change", show);
    fit();
  }
})();

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

  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.altKey || event.metaKey) return;
    if (event.target.closest("input, select, textarea, dialog[open]")) return;
    event.preventDefault();
    const side = document.getElementById("tables");
    if (getComputedStyle(side).display === "none") side.showPopover();
    find.focus();
    find.select();
  });
})();

// Opens the page of a link in the drawer; without this file the link leads to the page.
(() => {
  "use strict";

  const drawer = document.getElementById("drawer");
  const title = drawer.querySelector("[data-drawer-title]");
  const body = drawer.querySelector("[data-drawer-body]");

  async function open(link) {
    const response = await fetch(link.href, { headers: { "X-Part": "text" } });
    if (response.redirected || !response.ok) {
      location.assign(link.href);
      return;
    }
    body.innerHTML = await response.text();
    title.textContent = link.textContent.trim().replace(/\s+/g, " ");
    drawer.showModal();
  }

  document.querySelectorAll("a[data-drawer]").forEach((link) => {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open(link).catch(() => location.assign(link.href));
    });
  });
})();

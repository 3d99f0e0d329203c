// Opens the page of a link in a drawer at the side; without this file the link leads to the page.
(() => {
  "use strict";

  const drawer = document.querySelector("[data-drawer-place]");
  if (!drawer) return;

  function close() {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button ghost small drawer-close";
    button.textContent = "Close";
    button.addEventListener("click", () => drawer.close());
    return button;
  }

  async function open(link) {
    const response = await fetch(link.href, { headers: { "X-Part": "text" } });
    if (response.redirected || !response.ok) {
      location.assign(link.href);
      return;
    }
    const content = await response.text();
    const head = document.createElement("div");
    head.className = "drawer-head";
    const title = document.createElement("h2");
    title.textContent = link.textContent.trim().replace(/\s+/g, " ");
    head.append(title, close());
    drawer.innerHTML = content;
    drawer.prepend(head);
    drawer.showModal();
  }

  document.querySelectorAll("a[data-drawer]").forEach((link) => {
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      open(link).catch(() => location.assign(link.href));
    });
  });
  drawer.addEventListener("click", (event) => {
    // The dim ground around the drawer is the dialog itself.
    if (event.target === drawer && event.offsetX < 0) drawer.close();
  });
})();

// Sets the kept theme before the first paint; it blocks on purpose, so nothing flashes.
(() => {
  const root = document.documentElement;
  root.dataset.js = "";
  try {
    const kept = localStorage.getItem("theme");
    if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  } catch {
    // Storage may be switched off: the system's theme stands.
  }
})();

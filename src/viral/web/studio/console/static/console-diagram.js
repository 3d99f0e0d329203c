// The diagram: search, zoom and move. Without this file it scrolls, and its tables are links.
(() => {
  "use strict";

  const frame = document.querySelector("[data-er-frame]");
  if (!frame) return;
  const picture = frame.querySelector("svg");
  const tables = [...picture.querySelectorAll("[data-words]")];
  const search = document.querySelector("[data-er-search]");
  const found = document.querySelector("[data-er-found]");
  const scaleText = document.querySelector("[data-er-scale]");
  const natural = Number(frame.dataset.width);
  const LEAST = 0.15;
  const MOST = 2;
  const STEP = 1.25;
  const MOVE = 160;
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  let scale = 1;

  // The middle of what is seen stays where it is.
  function zoom(to) {
    const before = scale;
    scale = Math.min(MOST, Math.max(LEAST, to));
    const x = (frame.scrollLeft + frame.clientWidth / 2) / before;
    const y = (frame.scrollTop + frame.clientHeight / 2) / before;
    picture.style.width = `${natural * scale}px`;
    frame.scrollLeft = x * scale - frame.clientWidth / 2;
    frame.scrollTop = y * scale - frame.clientHeight / 2;
    scaleText.textContent = `${Math.round(scale * 100)} %`;
  }

  const fit = () => zoom((frame.clientWidth - 2) / natural);
  const move = (x, y) => frame.scrollBy({ left: x, top: y, behavior: calm ? "auto" : "smooth" });
  const deeds = {
    in: () => zoom(scale * STEP),
    out: () => zoom(scale / STEP),
    fit,
    left: () => move(-MOVE, 0),
    right: () => move(MOVE, 0),
    up: () => move(0, -MOVE),
    down: () => move(0, MOVE),
  };
  document.querySelectorAll("[data-er]").forEach((button) => {
    button.addEventListener("click", deeds[button.dataset.er]);
  });

  const keys = { "+": "in", "=": "in", "-": "out", 0: "fit", ArrowLeft: "left" };
  Object.assign(keys, { ArrowRight: "right", ArrowUp: "up", ArrowDown: "down" });
  frame.addEventListener("keydown", (event) => {
    const deed = keys[event.key];
    if (!deed || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    deeds[deed]();
  });

  let held = null;
  frame.addEventListener("pointerdown", (event) => {
    if (event.pointerType !== "mouse" || event.button !== 0) return;
    held = { x: event.clientX, y: event.clientY, hasMoved: false };
  });
  addEventListener("pointermove", (event) => {
    if (!held) return;
    held.hasMoved ||= Math.hypot(event.clientX - held.x, event.clientY - held.y) > 4;
    if (!held.hasMoved) return;
    frame.scrollBy(held.x - event.clientX, held.y - event.clientY);
    Object.assign(held, { x: event.clientX, y: event.clientY });
    frame.classList.add("er-moving");
  });
  addEventListener("pointerup", () => {
    // The click that ends a drag opens nothing.
    if (held?.hasMoved) {
      frame.addEventListener("click", (event) => event.preventDefault(), { once: true });
      setTimeout(() => frame.classList.remove("er-moving"));
    }
    held = null;
  });
  frame.addEventListener("dragstart", (event) => event.preventDefault());

  let hits = [];
  let at = -1;

  function reveal(table) {
    const box = table.getBoundingClientRect();
    const place = frame.getBoundingClientRect();
    move(
      box.left + box.width / 2 - place.left - place.width / 2,
      box.top + Math.min(box.height, place.height) / 2 - place.top - place.height / 2,
    );
  }

  function mark() {
    const words = search.value.trim().toLowerCase();
    hits = words ? tables.filter((each) => each.dataset.words.includes(words)) : [];
    at = hits.length ? 0 : -1;
    tables.forEach((each) => each.classList.toggle("er-hit", hits.includes(each)));
    picture.classList.toggle("er-searched", Boolean(words));
    found.textContent = words ? told() : "";
    if (hits.length) reveal(hits[0]);
  }

  function told() {
    if (!hits.length) return `No table or column has “${search.value.trim()}”.`;
    return `${at + 1} of ${hits.length}: ${hits[at].dataset.name}`;
  }

  search.addEventListener("input", mark);
  search.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !hits.length) return;
    event.preventDefault();
    at = (at + (event.shiftKey ? hits.length - 1 : 1)) % hits.length;
    found.textContent = told();
    reveal(hits[at]);
  });
  frame.classList.add("er-live");
  // A phone begins where names can be read.
  if (frame.clientWidth < 640) zoom(0.6);
  else fit();
})();

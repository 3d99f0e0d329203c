// Live regions: when the server says that something of their kind changed, the page asks for
// itself again and puts in what differs. Without this file the page is as it was when it was read.
(() => {
  "use strict";

  const EVERY_MS = 1000;
  const RETRY_MS = 5000;
  const POLL_MS = 10000;
  const FAILURES = 3;
  const main = document.getElementById("main");
  const bar = document.getElementById("live");
  const regions = () => [...document.querySelectorAll("[data-live][id]")];
  if (main.dataset.position === undefined || !regions().length) return;

  let position = main.dataset.position;
  let source = null;
  let failures = 0;
  let polling = 0;
  let retrying = 0;
  let isDue = false;
  let timer = 0;
  let last = -EVERY_MS;

  function say(text, act) {
    bar.replaceChildren();
    if (!text) return;
    const note = document.createElement(act ? "button" : "p");
    note.textContent = text;
    if (act) note.addEventListener("click", act);
    bar.append(note);
  }

  // Old becomes new with as few changes as can be: focus, selection, scroll, open disclosures and
  // popovers belong to elements, which stay.
  function morph(from, to) {
    for (const { name, value } of to.attributes) {
      if (name !== "open" && from.getAttribute(name) !== value) from.setAttribute(name, value);
    }
    for (const { name } of [...from.attributes]) {
      if (!["open", "tabindex"].includes(name) && !to.hasAttribute(name)) from.removeAttribute(name);
    }
    const named = new Map([...from.children].filter((each) => each.id).map((each) => [each.id, each]));
    let at = from.firstChild;
    for (const next of [...to.childNodes]) {
      const isLike = at && !at.id && at.nodeName === next.nodeName;
      const old = next.id ? named.get(next.id) : isLike ? at : null;
      if (!old) {
        from.insertBefore(next, at);
        continue;
      }
      if (old === at) at = at.nextSibling;
      else from.insertBefore(old, at);
      if (old.nodeType !== Node.ELEMENT_NODE) old.nodeValue = next.nodeValue;
      else if ("chart" in old.dataset) old.asSent?.isEqualNode(next) || old.replaceWith(next);
      else if (!old.isEqualNode(next)) morph(old, next);
    }
    while (at) {
      const rest = at.nextSibling;
      at.remove();
      at = rest;
    }
  }

  const isBusy = (region) =>
    region.querySelector(":popover-open, dialog[open], [aria-busy=true]") ||
    (region.contains(document.activeElement) &&
      document.activeElement.matches("textarea, select, input:not([type=checkbox])"));

  function put(region, next) {
    const known = new Set([...region.querySelectorAll("[data-row]")].map((row) => row.id));
    const rows = [...next.querySelectorAll("[data-row]")].filter((row) => !known.has(row.id));
    const shown = () => {
      morph(region, next);
      rows.forEach((row) => row.classList.add("fresh"));
      document.dispatchEvent(new CustomEvent("live:shown"));
    };
    const hasScrolled = region.getBoundingClientRect().top < 0;
    if (!rows.length || !known.size || !hasScrolled) return shown();
    say(`${rows.length} new`, () => {
      shown();
      say("");
      region.scrollIntoView({ block: "start" });
    });
  }

  async function look() {
    isDue = false;
    last = performance.now();
    const answer = await fetch(location.href, { headers: { "X-Live": "1" } });
    if (answer.redirected) return say("You are signed out. Load the page again to sign in.");
    if (!answer.ok) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const region of regions()) {
      const next = page.getElementById(region.id);
      if (!next || region.isEqualNode(next)) continue;
      if (isBusy(region)) soon();
      else put(region, next);
    }
  }

  function soon() {
    isDue = true;
    clearTimeout(timer);
    const wait = Math.max(0, last + EVERY_MS - performance.now());
    // Who does not look waits until they do.
    timer = setTimeout(() => document.hidden || look().catch(() => {}), wait);
  }

  function hear({ data }) {
    const { kind } = JSON.parse(data);
    if (!regions().some((region) => region.dataset.live.split(" ").includes(kind))) return;
    // Trends are everybody's: not everybody asks in the same moment.
    if (kind === "trends") setTimeout(soon, Math.random() * 2 * EVERY_MS);
    else soon();
  }

  function stop() {
    source?.close();
    source = null;
    clearTimeout(retrying);
  }

  function stopPolling() {
    clearInterval(polling);
    polling = 0;
  }

  function close() {
    stop();
    stopPolling();
  }

  function open() {
    stop();
    if (document.hidden) return;
    source = new EventSource(`/live?after=${encodeURIComponent(position)}`);
    const noted = (act) => (event) => {
      position = event.lastEventId;
      act(event);
    };
    source.addEventListener("news", noted(hear));
    source.addEventListener("stale", noted(soon));
    source.addEventListener("open", () => {
      if (failures >= FAILURES) say("");
      failures = 0;
      stopPolling();
    });
    source.addEventListener("error", () => {
      failures += 1;
      if (source.readyState === EventSource.CLOSED) retrying = setTimeout(open, RETRY_MS);
      if (failures < FAILURES) return;
      say("Live updates paused, retrying");
      polling ||= setInterval(soon, POLL_MS);
    });
  }

  document.addEventListener("visibilitychange", () => {
    if (document.hidden) return close();
    open();
    if (isDue) soon();
  });
  addEventListener("pagehide", close);
  addEventListener("pageshow", (event) => event.persisted && open());
  open();
})();

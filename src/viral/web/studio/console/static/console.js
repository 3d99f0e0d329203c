// The console: colours, running by keys, cancelling. Without this file the forms do all but that.
(() => {
  "use strict";

  const form = document.querySelector("[data-console]");
  if (!form) return;
  const text = form.querySelector("textarea");
  const paint = form.querySelector("[data-paint]");
  const answer = document.querySelector("[data-answer]");
  const said = form.querySelector("[data-said]");
  const busyLine = form.querySelector("[data-busy-line]");
  const busyText = form.querySelector("[data-busy-text]");
  const help = form.querySelector("#sql-help");
  const SHOW_BUSY_AFTER_MS = 150;

  // PostgreSQL's words that a reader looks for; names stay plain.
  const WORDS = new Set(
    ("all analyze and any array as asc between by case cast coalesce count create cross current " +
      "delete desc distinct drop else end except exists explain false fetch filter first from " +
      "full group having in inner insert intersect interval into is join lateral left like ilike " +
      "limit materialized natural not null nulls offset on only or order outer over partition " +
      "range recursive returning right row rows select set show some table then to true union " +
      "update using values when where window with within").split(" "),
  );
  const TOKEN = new RegExp(
    [
      "(--[^\\n\\r]*|/\\*[\\s\\S]*?(?:\\*/|$))",
      "(\\$([A-Za-z_]\\w*)?\\$[\\s\\S]*?(?:\\$\\3\\$|$)|[eE]'(?:[^'\\\\]|\\\\[\\s\\S]|'')*'?|'(?:[^']|'')*'?)",
      '("(?:[^"]|"")*"?)',
      "(\\b\\d[\\w.]*)",
      "([A-Za-z_][\\w$]*)",
    ].join("|"),
    "g",
  );
  let mark = null;

  function piece(kind, content) {
    if (!kind) return document.createTextNode(content);
    const span = document.createElement("span");
    span.className = kind;
    span.textContent = content;
    return span;
  }

  function kindOf(found) {
    if (found[1]) return "sql-comment";
    if (found[2]) return "sql-text";
    if (found[5]) return "sql-number";
    return found[6] && WORDS.has(found[6].toLowerCase()) ? "sql-word" : "";
  }

  function colour() {
    const content = text.value;
    const parts = document.createDocumentFragment();
    let at = 0;
    for (const found of content.matchAll(TOKEN)) {
      parts.append(content.slice(at, found.index), piece(kindOf(found), found[0]));
      at = found.index + found[0].length;
    }
    // A last line that is empty has its height from this.
    parts.append(content.slice(at), "\n ");
    paint.replaceChildren(parts);
    if (mark !== null) underline(mark);
    text.style.height = "auto";
    text.style.height = `${text.scrollHeight + 2}px`;
  }

  // The error's place: the characters are found again among the coloured pieces.
  function underline(position) {
    let left = position;
    const walker = document.createTreeWalker(paint, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) {
      if (left >= node.length) {
        left -= node.length;
        continue;
      }
      const length = (/^[\w$.]+/.exec(node.data.slice(left)) || ["."])[0].length;
      const range = document.createRange();
      range.setStart(node, left);
      range.setEnd(node, Math.min(node.length, left + length));
      const span = document.createElement("mark");
      range.surroundContents(span);
      return;
    }
  }

  function showFault(offset) {
    const fault = answer.querySelector("[data-position]");
    mark = fault ? Number(fault.dataset.position) + offset : null;
    colour();
    if (mark === null) return;
    text.focus({ preventScroll: true });
    text.setSelectionRange(mark, mark);
  }

  function tell() {
    said.textContent = [...answer.querySelectorAll("[data-summary]")]
      .map((each) => each.textContent.trim())
      .join(". ");
  }

  // Refused at the door: what its page says, with the typed text kept.
  function refuse(page) {
    const main = new DOMParser().parseFromString(page, "text/html").querySelector("main");
    const card = document.createElement("div");
    card.className = "card failure";
    card.setAttribute("role", "alert");
    [...(main ?? document.createElement("main")).querySelectorAll("h1, p")].forEach((each) => {
      const line = document.createElement("p");
      line.textContent = each.textContent.trim();
      card.append(line);
    });
    answer.replaceChildren(card);
  }

  let running = null;

  function busy(isOn) {
    busyLine.hidden = !isOn;
    help.hidden = isOn;
    form.querySelectorAll("button[type=submit]").forEach((button) => {
      button.toggleAttribute("disabled", isOn);
    });
    answer.setAttribute("aria-busy", String(isOn));
  }

  function startBusy(verb) {
    const began = Date.now();
    const tick = () => {
      const seconds = Math.floor((Date.now() - began) / 1000);
      busyText.textContent = seconds ? `${verb}, ${seconds} s` : verb;
    };
    tick();
    const soon = setTimeout(() => busy(true), SHOW_BUSY_AFTER_MS);
    const clock = setInterval(tick, 1000);
    return () => {
      clearTimeout(soon);
      clearInterval(clock);
      busy(false);
    };
  }

  function newRun() {
    return [...crypto.getRandomValues(new Uint8Array(8))]
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join("");
  }

  async function send(address, fields, verb, offset = 0) {
    if (running) return;
    running = newRun();
    fields.set("run", running);
    const stop = startBusy(verb);
    const began = performance.now();
    try {
      const response = await fetch(address, {
        method: "POST",
        body: new URLSearchParams(fields),
        headers: { "X-Part": "answer" },
      });
      if (response.redirected) {
        // Signed out meanwhile.
        location.assign(response.url);
        return;
      }
      const content = await response.text();
      if (!response.ok) {
        refuse(content);
        return;
      }
      answer.innerHTML = content;
      const isRefused = answer.querySelector("[data-fault]") !== null;
      dispatchEvent(
        new CustomEvent("console:ran", {
          detail: { sql: fields.get("sql"), isRefused, ms: performance.now() - began },
        }),
      );
      showFault(offset);
      tell();
    } catch {
      said.textContent = busyText.textContent = "Studio does not answer: is it still running?";
    } finally {
      running = null;
      stop();
    }
  }

  function run(submitter) {
    const fields = new FormData(form);
    const { selectionStart: start, selectionEnd: end } = text;
    const isPart = end > start && text.value.slice(start, end).trim() !== "";
    if (isPart) fields.set("sql", text.value.slice(start, end));
    const address = submitter?.formAction || form.action;
    const verb = address.endsWith("/plan") ? "Planning" : "Running";
    mark = null;
    return send(address, fields, verb, isPart ? start : 0);
  }

  function cancel() {
    if (!running) return;
    busyText.textContent = "Cancelling";
    const fields = new FormData();
    fields.set("_csrf_token", form.elements._csrf_token.value);
    fields.set("run", running);
    fetch("/console/cancel", { method: "POST", body: new URLSearchParams(fields), keepalive: true });
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    run(event.submitter);
  });
  answer.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-part-form]")) return;
    event.preventDefault();
    send(event.target.action, new FormData(event.target), "Storing");
  });
  answer.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy-cell]");
    if (!button) return;
    try {
      await navigator.clipboard.writeText(button.nextElementSibling.textContent);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(button.nextElementSibling);
    }
  });
  form.querySelector("[data-cancel]").addEventListener("click", cancel);
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing) {
      event.preventDefault();
      run(null);
    } else if (event.key === "Escape" && running) {
      event.preventDefault();
      cancel();
    }
  });
  // Who leaves the page does not wait for its answer.
  addEventListener("pagehide", cancel);
  text.addEventListener("input", () => {
    mark = null;
    colour();
  });
  addEventListener("console:load", (event) => {
    text.value = event.detail.sql;
    mark = null;
    colour();
    text.focus();
    if (event.detail.isRun) run(null);
  });
  form.dataset.isLive = "";
  showFault(0);
  if (location.search && text.value) text.focus();
})();

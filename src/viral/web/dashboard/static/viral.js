// Small comforts; every page reads and every form posts without this file.
(() => {
  "use strict";

  const root = document.documentElement;
  const all = (selector, from = document) => [...from.querySelectorAll(selector)];

  function switchTheme() {
    const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
    const theme = (root.dataset.theme || system) === "dark" ? "light" : "dark";
    root.dataset.theme = theme;
    try {
      localStorage.setItem("theme", theme);
    } catch {
      // The choice then lasts for this page.
    }
  }

  // One listener for the page: what live.js puts in later needs none of its own.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if ("themeSwitch" in button.dataset) switchTheme();
    if ("keys" in button.dataset) {
      button.closest("[popover]")?.hidePopover();
      document.getElementById("keys").showModal();
    }
    if ("close" in button.dataset) button.closest("dialog").close();
    const asked = button.popoverTargetElement;
    if (asked instanceof HTMLDialogElement) {
      // Modal: Tab stays inside. Without this file it opens as the popover that it is.
      event.preventDefault();
      if (asked.open) asked.close();
      else asked.showModal();
    }
    if (!("copy" in button.dataset)) return;
    try {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = "Copied";
    } catch {
      // Browsers give the clipboard to secure addresses alone: the person copies what is selected.
      document.getElementById(button.dataset.copyField)?.select();
    }
  });

  const SHOWN_MS = 6000;
  function makeToast(flash) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "flash-close";
    button.textContent = "×";
    button.setAttribute("aria-label", "Close this message");
    button.addEventListener("click", () => flash.remove());
    flash.append(button);
    if (flash.getAttribute("role") === "alert") return;
    // It stays while somebody reads it, by pointer or by focus.
    let timer = 0;
    const wait = () => (timer = setTimeout(() => flash.remove(), SHOWN_MS));
    const stay = () => clearTimeout(timer);
    flash.addEventListener("pointerenter", stay);
    flash.addEventListener("pointerleave", wait);
    flash.addEventListener("focusin", stay);
    flash.addEventListener("focusout", wait);
    wait();
  }
  all("[data-flash]").forEach(makeToast);

  // A submitted form stays busy, at the same width, and is not sent twice.
  document.addEventListener("submit", (event) => {
    const button = event.submitter;
    if (!button) return;
    if (button.getAttribute("aria-disabled") === "true") {
      event.preventDefault();
      document.getElementById(button.getAttribute("aria-describedby"))?.focus();
      return;
    }
    if (button.getAttribute("aria-busy") === "true") {
      event.preventDefault();
      return;
    }
    if (!button.dataset.busy) return;
    button.style.width = `${button.offsetWidth}px`;
    button.dataset.label = button.innerHTML;
    button.textContent = button.dataset.busy;
    button.setAttribute("aria-busy", "true");
  });
  // Back from the next page: the browser may show this one as it was left.
  addEventListener("pageshow", () => {
    all("[aria-busy=true]").forEach((button) => {
      button.innerHTML = button.dataset.label;
      button.removeAttribute("aria-busy");
      button.style.width = "";
    });
  });

  // The crosshair: readings stand in the rows of the chart's own table.
  function readChart(figure) {
    // live.js compares with what the server sends next.
    figure.asSent = figure.cloneNode(true);
    figure.dataset.chart = "read";
    const plot = figure.querySelector("[data-plot]");
    const line = figure.querySelector("[data-reading]");
    const readings = all("[data-said]", figure).map((row) => row.dataset.said);
    const lines = all("[data-xs]", plot).map((element) => ({
      element,
      svg: element.ownerSVGElement,
      xs: element.dataset.xs.split(" ").map(Number),
    }));
    let at = readings.length - 1;

    function show(index) {
      at = Math.max(0, Math.min(readings.length - 1, index));
      line.textContent = readings[at];
      lines.forEach(({ element, xs }) => {
        element.setAttribute("x1", xs[at]);
        element.setAttribute("x2", xs[at]);
        element.classList.add("shown");
      });
    }
    const hide = () => lines.forEach(({ element }) => element.classList.remove("shown"));

    function nearest(event) {
      const drawn = lines.find(({ svg }) => svg.getBoundingClientRect().width > 0);
      const box = drawn.svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) / box.width) * drawn.svg.viewBox.baseVal.width;
      const distances = drawn.xs.map((each) => Math.abs(each - x));
      return distances.indexOf(Math.min(...distances));
    }

    plot.tabIndex = 0;
    plot.setAttribute("role", "group");
    plot.setAttribute("aria-label", "Chart; left and right arrow keys read it");
    plot.addEventListener("pointermove", (event) => show(nearest(event)));
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const target = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: readings.length - 1 };
      if (!(event.key in target)) return;
      event.preventDefault();
      show(target[event.key]);
    });
  }
  const readCharts = () => all("[data-chart='']").forEach(readChart);
  readCharts();
  document.addEventListener("live:shown", readCharts);
})();

// What pages do beside being pages: copy, tick, and put the focus where the news is. Everything works without.
(() => {
  "use strict";

  const showCopy = (root) => {
    if (!navigator.clipboard) return; // over plain http from elsewhere there is none
    for (const button of root.querySelectorAll("button.copy[hidden]")) button.hidden = false;
  };

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (button) {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.classList.add("copied");
      setTimeout(() => button.classList.remove("copied"), 1200);
    }
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    const menu = document.querySelector("details.menu[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });

  // <time data-due> counts down to its moment; the server wrote what was right when it answered.
  const tick = () => {
    for (const element of document.querySelectorAll("time[data-due]")) {
      const left = Math.round((Date.parse(element.dateTime) - Date.now()) / 1000);
      if (left <= 0) element.textContent = "now";
      else if (left < 60) element.textContent = `in ${left} s`;
      else if (left < 3600) element.textContent = `in ${Math.floor(left / 60)} min ${left % 60} s`;
    }
  };

  const start = () => {
    showCopy(document);
    tick();
    if (document.querySelector("time[data-due]")) setInterval(tick, 1000);
    const problems = document.getElementById("problems");
    if (problems) problems.focus();
  };
  document.addEventListener("htmx:after:swap", () => {
    showCopy(document);
    tick();
  });
  start();
})();

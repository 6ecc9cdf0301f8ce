// Keys: / ? j k o, which can be turned off, and Ctrl-K or ⌘K for the palette. Everything is reached without them, too.
(() => {
  "use strict";
  const OFF = "hookline-keys-off";
  const isOff = () => {
    try {
      return localStorage.getItem(OFF) === "1";
    } catch {
      return false; // no storage here: nothing was turned off
    }
  };
  const find = document.getElementById("find");
  const help = document.getElementById("keyboard-link");

  const rows = () =>
    [...document.querySelectorAll("main tbody tr")].filter((row) => row.querySelector("a[href]") && row.offsetParent);
  const move = (step) => {
    const all = rows();
    const at = all.indexOf(document.activeElement.closest("tr"));
    const next = at < 0 ? (step > 0 ? 0 : all.length - 1) : at + step;
    all[next]?.querySelector("a[href]").focus();
  };
  const single = {
    "/": () => find?.focus(),
    "?": () => help && location.assign(help.href),
    j: () => move(1),
    k: () => move(-1),
    o: () => document.activeElement.closest("main tr")?.querySelector("a[href]")?.click(),
  };

  const dialog = document.getElementById("palette");
  const text = document.getElementById("palette-text");
  const list = document.getElementById("palette-list");
  let options = [];
  let at = 0;

  const choose = (index) => {
    at = options.length ? (index + options.length) % options.length : 0;
    options.forEach((one, number) => one.element.setAttribute("aria-selected", String(number === at)));
    options[at]?.element.scrollIntoView({ block: "nearest" });
    text.setAttribute("aria-activedescendant", options[at]?.element.id ?? "");
  };
  const go = (one) => {
    if (!one) return;
    dialog.close();
    one.go();
  };
  const fill = () => {
    const asked = text.value.trim();
    options = [...document.querySelectorAll("nav.side a, .menu-body a")]
      .filter((link) => link.textContent.toLowerCase().includes(asked.toLowerCase()))
      .map((link) => ({ label: link.textContent.trim(), go: () => location.assign(link.href) }));
    if (asked && find) {
      const search = () => {
        find.value = asked;
        find.form.requestSubmit();
      };
      options.push({ label: `Find “${asked}”`, go: search });
    }
    options.forEach((one, number) => {
      one.element = document.createElement("li");
      one.element.id = `palette-${number}`;
      one.element.role = "option";
      one.element.textContent = one.label;
      one.element.addEventListener("click", () => go(one));
    });
    list.replaceChildren(...options.map((one) => one.element));
    choose(0);
  };
  const open = () => {
    if (!dialog || dialog.open) return;
    text.value = "";
    fill();
    dialog.showModal();
    text.focus();
  };
  text?.addEventListener("input", fill);
  text?.addEventListener("keydown", (event) => {
    if (event.key === "ArrowDown") choose(at + 1);
    else if (event.key === "ArrowUp") choose(at - 1);
    else if (event.key === "Enter") go(options[at]);
    else return;
    event.preventDefault();
  });
  dialog?.addEventListener("click", (event) => event.target === dialog && dialog.close());

  document.addEventListener("keydown", (event) => {
    if (event.isComposing || event.defaultPrevented) return;
    if ((event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey && event.key.toLowerCase() === "k") {
      event.preventDefault();
      open();
      return;
    }
    if (event.ctrlKey || event.metaKey || event.altKey || dialog?.open || isOff()) return;
    if (event.target.closest("input, select, textarea, [contenteditable]")) return;
    const act = Object.hasOwn(single, event.key) && single[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  const button = document.getElementById("keys-switch");
  if (button) {
    const show = () => {
      button.textContent = isOff() ? "Turn single keys on" : "Turn single keys off";
      document.getElementById("keys-said").textContent = isOff() ? "Single keys are off in this browser." : "";
    };
    button.hidden = false;
    button.addEventListener("click", () => {
      try {
        localStorage.setItem(OFF, isOff() ? "0" : "1");
      } catch {
        return;
      }
      show();
    });
    show();
  }
})();

// The live page: keeps its rows up to date from the stream. Without it the page is the newest rows, and a reload.
(() => {
  "use strict";
  const MOST = 500;
  const SHAPES = { ok: "●", bad: "✕", wait: "◐", hold: "‖", idle: "○" };
  const table = document.getElementById("live");
  const body = table.tBodies[0];
  const said = document.getElementById("live-said");
  const button = document.getElementById("live-pause");
  const empty = document.getElementById("live-empty");
  const rows = new Map([...body.rows].map((row) => [row.dataset.id, row]));
  let after = table.dataset.after;
  let source = null;
  let passed = 0;
  let paused = matchMedia("(prefers-reduced-motion: reduce)").matches;

  const say = (text) => {
    const more = passed ? ` ${passed} more came than could be shown.` : "";
    if (said.textContent !== text + more) said.textContent = text + more;
  };
  const copy = (id) => document.getElementById(id).content.firstElementChild.cloneNode(true);

  // Text only: nothing that comes is ever read as markup.
  const link = (element, text, href) => {
    element.textContent = text;
    if (href) element.href = href;
    else element.replaceWith(Object.assign(document.createElement("span"), { textContent: text }));
  };
  const passage = (one) => {
    const made = copy("live-passage");
    const state = made.querySelector(".state");
    state.classList.add(`state-${one.kind}`);
    state.firstElementChild.textContent = SHAPES[one.kind] || SHAPES.idle;
    state.lastElementChild.replaceWith(one.word);
    link(made.querySelector("a"), one.note || (one.href ? one.word : ""), one.href);
    return made;
  };
  const draw = (one) => {
    const made = copy("live-row");
    made.dataset.id = one.id;
    link(made.querySelector("th a"), one.type, one.href);
    const code = made.querySelector("code");
    if (one.object) code.textContent = one.object;
    else code.remove();
    for (const cell of made.querySelectorAll("[data-lane]")) {
      cell.append(...one[cell.dataset.lane].map(passage));
      if (cell.dataset.lane === "sent" && one.sent_more > 0) cell.append(`and ${one.sent_more} more`);
    }
    const time = made.querySelector("time");
    time.dateTime = one.at;
    time.textContent = one.at.slice(11, 23);
    return made;
  };

  const show = (news) => {
    passed += news.passed;
    for (const one of news.rows) {
      const made = draw(one);
      const held = rows.get(one.id);
      if (held) {
        // What is being read or pressed is not taken from under the focus.
        const focused = held.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
        held.replaceWith(made);
        if (focused) [...made.querySelectorAll("a")].find((a) => a.getAttribute("href") === focused)?.focus();
      } else body.prepend(made);
      rows.set(one.id, made);
    }
    for (const id of news.gone) {
      rows.get(id)?.remove();
      rows.delete(id);
    }
    for (let last = body.lastElementChild; rows.size > MOST && last; last = body.lastElementChild) {
      rows.delete(last.dataset.id);
      last.remove();
    }
    empty.hidden = rows.size > 0;
  };

  const stop = () => {
    if (source) source.close();
    source = null;
  };
  const start = () => {
    if (source || paused || document.hidden) return;
    const url = new URL(table.dataset.stream, location.href);
    url.searchParams.set("after", after);
    source = new EventSource(url);
    const note = (event) => {
      if (event.lastEventId) after = event.lastEventId;
    };
    source.addEventListener("rows", (event) => {
      note(event);
      show(JSON.parse(event.data));
      say("Live.");
    });
    source.addEventListener("beat", note);
    source.addEventListener("over", (event) => {
      if (JSON.parse(event.data).why !== "signed_out") return;
      stop();
      say("Your session has ended: reload the page to sign in.");
    });
    source.onopen = () => say("Live.");
    source.onerror = () => {
      const is_over = source && source.readyState === EventSource.CLOSED;
      say(is_over ? "The connection has ended: reload the page." : "The connection is broken; trying again.");
    };
  };
  const set = (to) => {
    paused = to;
    button.textContent = paused ? "Go on" : "Pause";
    if (paused) {
      stop();
      say("Paused: what comes meanwhile is shown when it goes on.");
    } else start();
  };

  button.hidden = false;
  document.getElementById("live-reload").hidden = true;
  button.addEventListener("click", () => set(!paused));
  document.addEventListener("keydown", (event) => {
    if (event.key !== " " || event.ctrlKey || event.metaKey || event.altKey) return;
    if (localStorage.getItem("hookline-keys-off") === "1") return;
    if (event.target.closest("a, button, input, select, textarea, summary, [contenteditable]")) return;
    event.preventDefault();
    set(!paused);
  });
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : start()));
  addEventListener("pagehide", stop);
  set(paused);
})();

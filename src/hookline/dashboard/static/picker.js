// The event picker filters while one types. Without this its button does, on the server.
(() => {
  "use strict";

  for (const picker of document.querySelectorAll("[data-picker]")) {
    const search = picker.querySelector("[data-picker-search]");
    const count = picker.querySelector("[data-picker-count]");
    picker.querySelector("[data-picker-button]").hidden = true;

    const filter = () => {
      const wanted = search.value.trim().toLowerCase();
      let shown = 0;
      for (const group of picker.querySelectorAll("[data-picker-group]")) {
        let matches = 0;
        for (const row of group.querySelectorAll("[data-picker-type]")) {
          const fits = row.textContent.toLowerCase().includes(wanted);
          row.hidden = !fits && !row.querySelector("input").checked;
          if (fits) matches += 1;
        }
        shown += matches;
        const chosen = group.querySelector("input:checked");
        group.hidden = !matches && !chosen;
        if (wanted) group.open = matches > 0 || Boolean(chosen);
      }
      count.textContent = wanted ? `${shown} types match` : "";
    };

    search.addEventListener("input", filter);
    // Return in the search box filters; it does not send the form.
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") event.preventDefault();
    });
  }
})();

"use strict";
(() => {
  // Pictures: one panel at a time, chosen by contrast, plane and view.
  const gallery = document.querySelector("[data-gallery]");
  if (gallery) {
    const chosen = {};
    const buttons = [...gallery.querySelectorAll("button[data-choice]")];
    const panels = [...gallery.querySelectorAll("[data-panel]")];
    const show = () => {
      for (const b of buttons) {
        b.setAttribute("aria-pressed", String(chosen[b.dataset.choice] === b.dataset.value));
      }
      const fits = (p, keys) => keys.every((k) => chosen[k] === undefined || p.dataset[k] === chosen[k]);
      const best = panels.find((p) => fits(p, ["contrast", "plane", "view"]));
      for (const p of panels) p.hidden = p !== best;
      gallery.querySelector("[data-none]").hidden = best !== undefined;
      gallery.classList.toggle("large", chosen.size === "large");
    };
    for (const b of buttons) {
      if (chosen[b.dataset.choice] === undefined) chosen[b.dataset.choice] = b.dataset.value;
      b.addEventListener("click", () => {
        chosen[b.dataset.choice] = b.dataset.value;
        show();
      });
    }
    show();
  }
  // Tables: a click on a heading sorts by it, a second click turns the order, a third restores the page's own.
  for (const head of document.querySelectorAll("table.sortable thead th")) {
    const button = head.querySelector("button");
    if (!button) continue;
    button.addEventListener("click", () => {
      const table = head.closest("table");
      const body = table.tBodies[0];
      const column = head.cellIndex;
      const before = head.getAttribute("aria-sort");
      const order = before === "ascending" ? "descending" : before === "descending" ? "none" : "ascending";
      for (const other of table.querySelectorAll("thead th")) other.removeAttribute("aria-sort");
      if (order !== "none") head.setAttribute("aria-sort", order);
      const key = (row) => {
        const text = order === "none" ? row.dataset.place : row.cells[column].dataset.sort;
        return text === "" || text === undefined ? NaN : Number(text);
      };
      const turn = order === "descending" ? -1 : 1;
      const rows = [...body.rows].sort((a, b) => {
        const x = key(a);
        const y = key(b);
        if (Number.isNaN(x) || Number.isNaN(y)) return Number.isNaN(x) - Number.isNaN(y);
        return turn * (x - y) || a.dataset.place - b.dataset.place;
      });
      body.append(...rows);
    });
  }
})();


"use strict";
// Tables are sorted by a click on a heading, and the log is filtered by words. Without this script both read as they are.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const numberOf = (text) => {
    const found = text.replaceAll("−", "-").replaceAll(",", "").match(/^-?\d+(?:\.\d+)?(?:e[+-]?\d+)?/i);
    return found ? parseFloat(found[0]) : null;
  };
  const sort = (heading) => {
    const place = heading.cellIndex;
    const isNumber = heading.classList.contains("n");
    const isUp = heading.getAttribute("aria-sort") !== "ascending";
    for (const other of heading.parentNode.cells) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", isUp ? "ascending" : "descending");
    const keyed = rows.map((row, i) => {
      const text = row.cells[place].textContent.trim();
      return { row, i, key: isNumber ? numberOf(text) : text || null };
    });
    keyed.sort((a, b) => {
      // What has no value stands last, whichever way.
      if (a.key === null || b.key === null) return (a.key === null) - (b.key === null) || a.i - b.i;
      const order = isNumber ? a.key - b.key : a.key.localeCompare(b.key);
      return (isUp ? order : -order) || a.i - b.i;
    });
    body.append(...keyed.map((item) => item.row));
  };
  for (const heading of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sort(heading));
    heading.append(button);
  }
  if (!table.classList.contains("filtered")) continue;
  const texts = new Map(rows.map((row) => [row, row.textContent.toLowerCase()]));
  const box = document.createElement("p");
  box.className = "filter";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "filter: words that a row must hold";
  input.setAttribute("aria-label", "filter the log");
  const count = document.createElement("span");
  const filter = () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let n = 0;
    for (const [row, text] of texts) {
      row.hidden = !words.every((word) => text.includes(word));
      n += !row.hidden;
    }
    count.textContent = `${n} of ${rows.length}`;
  };
  input.addEventListener("input", filter);
  box.append(input, count);
  table.parentNode.before(box);
  filter();
}

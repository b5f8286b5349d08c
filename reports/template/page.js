// Headings of tables become buttons that sort; a search box filters the rows below it.
const text = (row, i) => row.cells[i].textContent.trim();
const number = (cell) => parseFloat(cell.replace(/[,\s]/g, "").replace("−", "-"));
const one = "[−+-]?\\d[\\d,.\\s]*%?";
const figure = new RegExp(`^${one}(\\s*(–|to|至|→|\\(|（)\\s*${one}[)）]?)*$`); // 1,234 or −5 % or 12–15 or 3 (1–4); its first number sorts
const missing = (cell) => !cell || cell === "–";

document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    const rows = [...body.rows];
    const given = rows.map((row) => text(row, i)).filter((cell) => !missing(cell));
    const numeric = given.length > 0 && given.every((cell) => figure.test(cell));
    const short = given.every((cell) => cell.length <= 12); // such as dates, which should not be broken
    rows.map((row) => row.cells[i]).forEach((cell) => cell.classList.toggle("short", short));
    [head, ...rows.map((row) => row.cells[i])].forEach((cell) => cell.classList.toggle("n", numeric));
    if (!given.length) return; // a column of pictures
    const compare = (a, b) => (numeric ? number(a) - number(b) : a.localeCompare(b, undefined, { numeric: true }));
    const sort = () => {
      const before = head.getAttribute("aria-sort");
      const up = before ? before === "descending" : !numeric; // first click: largest first, or A to Z
      const order = (x, y) => {
        const [a, b] = [text(x, i), text(y, i)];
        if (missing(a) || missing(b)) return missing(a) - missing(b); // last, both ways
        return up ? compare(a, b) : compare(b, a);
      };
      body.append(...[...body.rows].sort(order));
      [...head.parentNode.cells].forEach((cell) => cell.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
    };
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.onclick = sort;
    head.append(button);
  });
});

document.querySelectorAll("input[type=search]").forEach((box) => {
  const rows = [...box.closest(".table").querySelectorAll("tbody tr")];
  const found = document.createElement("output"); // read out by a screen reader when it changes
  found.className = "found";
  box.after(found);
  box.oninput = () => {
    const words = box.value.toLowerCase().split(/\s+/);
    rows.forEach((row) => (row.hidden = !words.every((word) => row.textContent.toLowerCase().includes(word))));
    found.textContent = box.value ? `${rows.filter((row) => !row.hidden).length} / ${rows.length}` : "";
  };
});

addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((part) => (part.open = true)));

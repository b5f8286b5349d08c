// Tables sort on a click on their heading; a search box filters the rows below it.
const value = (row, i) => row.cells[i].textContent.trim();
const number = (text) => parseFloat(text.replace(/[,\s]/g, "").replace("−", "-"));
const figure = /^[−+-]?\d[\d,.\s]*(–\d[\d,.\s]*)?%?$/; // 1,234 or −5 % or 12–15
document.querySelectorAll("table.sortable").forEach((table) => {
  const body = table.tBodies[0];
  [...table.tHead.rows[0].cells].forEach((head, i) => {
    const texts = [...body.rows].map((row) => value(row, i));
    const numeric = texts.some((t) => figure.test(t)) && texts.every((t) => !t || t === "–" || figure.test(t));
    [head, ...[...body.rows].map((row) => row.cells[i])].forEach((cell) => cell.classList.toggle("n", numeric));
    const sort = () => {
      const up = head.getAttribute("aria-sort") === (numeric ? "descending" : "none") || !head.ariaSort && !numeric;
      const key = (row) => (numeric ? (isNaN(number(value(row, i))) ? -Infinity : number(value(row, i))) : value(row, i));
      const order = (a, b) => (numeric ? key(a) - key(b) : key(a).localeCompare(key(b)));
      body.append(...[...body.rows].sort((a, b) => (up ? order(a, b) : order(b, a))));
      [...head.parentNode.cells].forEach((cell) => cell.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
    };
    head.tabIndex = 0;
    head.onclick = sort;
    head.onkeydown = (event) => event.key === "Enter" && sort();
  });
});
document.querySelectorAll("input[type=search]").forEach((box) => {
  const rows = [...box.closest(".table").querySelectorAll("tbody tr")];
  box.oninput = () => rows.forEach((row) => (row.hidden = !row.textContent.toLowerCase().includes(box.value.toLowerCase())));
});

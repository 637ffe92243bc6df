"use strict";
// The page works without this script, apart from sorting, enlarging, and the choice of the map.

// ---- light and dark: as the system, until a reader chooses ---------------------------------------------------------
const page = document.documentElement;
const remember = value => { try { localStorage.setItem("theme", value); } catch { /* a file may have no storage */ } };
try { if (localStorage.getItem("theme")) page.dataset.theme = localStorage.getItem("theme"); } catch { /* as above */ }
document.getElementById("theme").addEventListener("click", () => {
  const dark = page.dataset.theme ? page.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  page.dataset.theme = dark ? "light" : "dark";
  remember(page.dataset.theme);
});

// ---- a link to a run opens it ----------------------------------------------------------------------------------------
document.querySelectorAll('nav a[href^="#"]').forEach(link => link.addEventListener("click", () => {
  document.getElementById(decodeURIComponent(link.hash.slice(1))).open = true;
}));

// ---- tables: a group of lines, such as paper and this run, is one tbody and stays together ---------------------------
const status = document.getElementById("status");
function sort(table, column, direction) {
  const isNumber = table.tHead.rows[0].cells[column].classList.contains("number");
  const order = direction === "descending" ? -1 : 1;
  const bodies = [...table.tBodies].map(body => {
    const cell = body.rows[0].cells[column];
    const value = isNumber ? parseFloat(cell.dataset.value) : cell.textContent.trim();
    return { body, value, isEmpty: isNumber ? Number.isNaN(value) : value === "", start: Number(body.dataset.start) };
  });
  const compare = isNumber ? (a, b) => a - b : (a, b) => a.localeCompare(b, "en", { numeric: true });
  bodies.sort((a, b) => {
    if (direction === "none") return a.start - b.start;
    if (a.isEmpty || b.isEmpty) return a.isEmpty - b.isEmpty || a.start - b.start;  // last in both directions
    return order * compare(a.value, b.value) || a.start - b.start;
  });
  for (const { body } of bodies) table.insertBefore(body, table.tFoot);
}
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tBodies].forEach((body, index) => { body.dataset.start = index; });
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => {
    const first = head.classList.contains("number") ? "descending" : "ascending";
    const second = first === "descending" ? "ascending" : "descending";
    const direction = { none: first, [first]: second, [second]: "none" }[head.getAttribute("aria-sort")];
    heads.forEach(other => other.setAttribute("aria-sort", other === head ? direction : "none"));
    sort(table, column, direction);
    status.textContent = direction === "none" ? "original order" : `sorted by ${head.textContent.trim()}, ${direction}`;
  }));
}

// ---- examples: a slider between image and map, and the choice of the map ---------------------------------------------
function slide(box) {
  const input = box.querySelector("input");
  const move = () => box.style.setProperty("--place", `${input.value}%`);
  input.addEventListener("input", move);
  move();
}
const showView = (box, view) => box.querySelectorAll(".map").forEach(map => {
  map.style.visibility = map.dataset.view === view ? "visible" : "hidden";
});
document.querySelectorAll(".compare").forEach(slide);
document.querySelectorAll("fieldset.views").forEach(choice => {
  const boxes = choice.parentElement.querySelectorAll(".compare");
  const show = () => boxes.forEach(box => showView(box, choice.querySelector("input:checked").value));
  choice.addEventListener("change", show);
  show();
});

// ---- images that open large; Escape and the button close, the focus returns to where it was ------------------------------
const dialog = document.getElementById("large");
const place = dialog.querySelector(".scroll");
function open(content, caption, ratio, least) {
  place.replaceChildren(content);
  dialog.querySelector("p").textContent = caption;
  dialog.showModal();
  const fitting = Math.min(place.clientWidth, innerHeight * 0.8 * ratio);
  content.style.width = `${Math.max(fitting, least)}px`;  // drawings keep a readable width on phones, and scroll
}
document.querySelectorAll("button.large").forEach(button => button.addEventListener("click", () => {
  const image = button.querySelector("img"), copy = image.cloneNode();
  open(copy, image.alt, image.naturalWidth / image.naturalHeight, Math.min(image.naturalWidth, 900));
}));
document.querySelectorAll("button.enlarge").forEach(button => button.addEventListener("click", () => {
  const figure = button.closest("figure"), box = figure.querySelector(".compare"), copy = box.cloneNode(true);
  const image = box.querySelector("img");
  slide(copy);
  open(copy, figure.querySelector("figcaption").textContent, image.naturalWidth / image.naturalHeight, 0);
}));
dialog.addEventListener("click", event => { if (event.target === dialog) dialog.close(); });

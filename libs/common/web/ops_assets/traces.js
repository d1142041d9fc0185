// Comfort on the page of one trace; everything it shows is there without it.
"use strict";

const rows = Array.from(document.querySelectorAll(".row"));
const tools = document.querySelector(".tools");

tools.hidden = false;
tools.addEventListener("click", (event) => {
  const open = event.target.dataset.open;
  if (open !== undefined) rows.forEach((row) => { row.open = open === "1"; });
});

document.getElementById("find").addEventListener("input", (event) => {
  const wanted = event.target.value.trim().toLowerCase();
  rows.forEach((row) => {
    const found = wanted !== "" && row.textContent.toLowerCase().includes(wanted);
    row.classList.toggle("found", found);
    row.classList.toggle("passed", wanted !== "" && !found);
  });
});

// A link to a span opens it.
const openTarget = () => {
  const row = location.hash && document.getElementById(location.hash.slice(1));
  if (row instanceof HTMLDetailsElement) { row.open = true; row.scrollIntoView({ block: "center" }); }
};
addEventListener("hashchange", openTarget);
openTarget();

document.querySelectorAll("time").forEach((time) => {
  time.title = new Date(time.dateTime).toLocaleString() + " here";
});

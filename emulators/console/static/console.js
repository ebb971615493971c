// The live list and the explanation of the chosen message. What peers sent enters the page as text alone.
"use strict";

const KEPT = 500; // rows; older ones leave the list
const body = document.querySelector("#messages tbody");
const scroll = document.querySelector("#scroll");
const explanation = document.querySelector("#explanation");
const filter = document.querySelector("#filter");
const pause = document.querySelector("#pause");
const state = document.querySelector("#state");
const empty = document.querySelector("#empty");
const count = document.querySelector("#count");
let waiting = []; // reports that came while paused
let total = 0;
let wanted = 0; // number of the message whose explanation was asked for last

function cell(row, text, name) {
  const made = row.insertCell();
  made.textContent = text;
  if (name) made.className = name;
  return made;
}

function clock(seconds) {
  const time = new Date(seconds * 1000);
  return time.toTimeString().slice(0, 8) + "." + String(time.getMilliseconds()).padStart(3, "0");
}

function took(seconds) {
  return seconds === null ? "" : seconds < 1 ? (seconds * 1000).toFixed(2) + " ms" : seconds.toFixed(2) + " s";
}

function add(line) {
  const row = body.insertRow();
  row.tabIndex = 0;
  row.dataset.number = line.number;
  row.className = line.from_client ? "client" : "server";
  cell(row, clock(line.time), "time");
  const client = document.createElement("small");
  client.textContent = line.client + " " + line.transport;
  cell(row, line.service + " ", "who").append(client);
  const what = cell(row, (line.from_client ? "→ " : "← ") + line.name, "what");
  if (line.status) {
    const status = document.createElement("span");
    status.textContent = " " + line.status;
    status.className = line.failed ? "failed" : "done";
    what.append(status);
  }
  const says = document.createElement("div");
  says.textContent = says.title = [line.detail, line.remarks].filter(Boolean).join("; ");
  cell(row, "", "says").append(says);
  cell(row, took(line.latency), "number");
  row.dataset.text = row.textContent.toLowerCase();
  row.hidden = !matches(row);
}

function matches(row) {
  return filter.value.toLowerCase().split(/\s+/).every((word) => row.dataset.text.includes(word));
}

function show(report) {
  const atEnd = scroll.scrollTop + scroll.clientHeight >= scroll.scrollHeight - 4;
  if (report.lost) {
    const row = body.insertRow();
    row.className = "lost";
    row.dataset.text = "";
    cell(row, report.lost + " messages came too fast to be shown").colSpan = 5;
  }
  report.lines.forEach(add);
  total += report.lines.length + report.lost;
  while (body.rows.length > KEPT) body.rows[0].remove();
  empty.hidden = true;
  count.textContent = total + (total === 1 ? " message" : " messages");
  if (atEnd) scroll.scrollTop = scroll.scrollHeight;
}

async function choose(row) {
  if (!row || !row.dataset.number) return;
  for (const other of body.querySelectorAll("[aria-selected]")) other.removeAttribute("aria-selected");
  row.setAttribute("aria-selected", "true");
  row.focus({ preventScroll: true });
  row.scrollIntoView({ block: "nearest" });
  const number = (wanted = row.dataset.number);
  let html;
  try {
    const answer = await fetch("messages/" + number);
    html = answer.ok ? await answer.text() : null;
    if (html === null) throw new Error(await answer.text());
  } catch (error) {
    html = null;
    if (wanted === number) {
      const sentence = document.createElement("p");
      sentence.className = "hint";
      sentence.textContent = error.message;
      explanation.replaceChildren(sentence);
    }
  }
  if (html !== null && wanted === number) {
    explanation.innerHTML = html; // made by our own template, which escapes what peers sent
    explanation.scrollTop = 0;
  }
}

function neighbour(row, way) {
  let next = row;
  do next = way > 0 ? next.nextElementSibling : next.previousElementSibling;
  while (next && (next.hidden || !next.dataset.number));
  return next;
}

// A field and its bytes light up together, whichever of them is under the pointer.
function light(field) {
  for (const lit of explanation.querySelectorAll(".on")) lit.classList.remove("on");
  if (!field) return;
  field.classList.add("on");
  for (let at = Number(field.dataset.start); at < Number(field.dataset.end); at++) {
    const byte = explanation.querySelector('b[data-at="' + at + '"]');
    if (!byte) break;
    byte.classList.add("on");
  }
}

function fieldOf(byte) {
  const at = Number(byte.dataset.at);
  return [...explanation.querySelectorAll(".field[data-start]")].find(
    (field) => Number(field.dataset.start) <= at && at < Number(field.dataset.end));
}

body.addEventListener("click", (event) => choose(event.target.closest("tr")));
document.querySelector("#messages").addEventListener("keydown", (event) => {
  const row = event.target.closest("tr");
  const way = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (row && way) {
    event.preventDefault();
    choose(neighbour(row, way));
  } else if (row && event.key === "Enter") choose(row);
});
explanation.addEventListener("mouseover", (event) => {
  const byte = event.target.closest("b[data-at]");
  light(byte ? fieldOf(byte) : event.target.closest(".field[data-start]"));
});
explanation.addEventListener("focusin", (event) => light(event.target.closest(".field[data-start]")));
explanation.addEventListener("click", (event) => {
  const byte = event.target.closest("b[data-at]");
  const field = byte && fieldOf(byte);
  if (field) field.scrollIntoView({ block: "center" });
});
filter.addEventListener("input", () => { for (const row of body.rows) row.hidden = !matches(row); });
pause.addEventListener("click", () => {
  const paused = pause.getAttribute("aria-pressed") !== "true";
  pause.setAttribute("aria-pressed", paused);
  pause.textContent = paused ? "Go on" : "Pause";
  if (!paused) waiting.splice(0).forEach(show);
});
document.querySelector("#clear").addEventListener("click", () => { body.replaceChildren(); empty.hidden = false; });

const source = new EventSource("events");
source.addEventListener("open", () => { state.textContent = "live"; state.className = "live"; });
source.addEventListener("run", (event) => { if (event.data !== document.body.dataset.run) location.reload(); });
source.addEventListener("error", () => { state.textContent = "the lab does not answer; trying again…"; state.className = "lost"; });
source.addEventListener("message", (event) => {
  const report = JSON.parse(event.data);
  if (pause.getAttribute("aria-pressed") === "true") {
    waiting.push(report);
    if (waiting.length > KEPT) waiting.shift();
  } else show(report);
});

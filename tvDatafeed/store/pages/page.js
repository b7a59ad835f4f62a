"use strict";

// Names come from other machines: they are set as text, never as HTML.
const EVERY_MS = 5000;
const element = (id) => document.getElementById(id);
const number = new Intl.NumberFormat("en");
let token = "";
let timer = 0;
let isBusy = false;

function setText(id, text) {
  const target = element(id);
  if (target.textContent !== text) target.textContent = text;
}

function made(tag, name, text) {
  const node = document.createElement(tag);
  if (name) node.className = name;
  if (text !== undefined) node.textContent = text;
  return node;
}

function pair(left, right) {
  const row = made("div", "pair");
  row.append(made("span", "", left), made("span", "quiet", right));
  return row;
}

function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  let value = bytes;
  let place = 0;
  while (value >= 1000 && place < units.length - 1) { value /= 1000; place += 1; }
  return `${place ? value.toFixed(1) : value} ${units[place]}`;
}

const day = (text) => (text ? text.slice(0, 10) : "–");
const count = (amount, noun) => `${number.format(amount)} ${amount === 1 || noun === "series" ? noun : `${noun}s`}`;

async function ask(path) {
  const headers = token ? { Authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { headers, cache: "no-store", credentials: "omit" });
  const data = await answer.json().catch(() => ({ detail: `HTTP ${answer.status}` }));
  if (answer.ok) return data;
  const failure = new Error(data.detail || `HTTP ${answer.status}`);
  failure.status = answer.status;
  throw failure;
}

function showState(kind, text) {
  element("dot").className = `dot ${kind}`;
  setText("state-text", text);
}

function showStats(stats) {
  setText("place", `${stats.engine} · ${stats.url}`);
  setText("records", number.format(stats.total_records));
  setText("records-note", count(stats.documents, "document"));
  const asked = stats.hits + stats.misses;
  setText("hit-rate", asked ? `${(stats.hit_rate * 100).toFixed(1)} %` : "–");
  setText("hit-note", asked ? `${number.format(stats.hits)} of ${count(asked, "request")}` : "no requests yet");
  setText("symbols", number.format(stats.unique_symbols));
  setText("symbols-note", count(stats.series, "series"));
  setText("size", size(stats.size_bytes));
  const bars = stats.total_records - stats.documents;
  setText("size-note", bars ? `${(stats.size_bytes / bars).toFixed(0)} bytes a bar` : "empty");
  showHot(stats.hot_symbols);
  showWarming(stats.warming);
}

function showHot(symbols) {
  element("hot-empty").hidden = symbols.length > 0;
  const most = Math.max(1, ...symbols.map((one) => one.hits));
  element("hot").replaceChildren(...symbols.map((one) => {
    const item = made("li");
    const track = made("div", "track");
    const fill = made("div", "fill");
    fill.style.left = "0";
    fill.style.width = `${(one.hits / most) * 100}%`;
    track.append(fill);
    item.append(pair(one.symbol, count(one.hits, "hit")), track);
    return item;
  }));
}

function showWarming(warming) {
  element("warming").hidden = warming.state === "idle";
  const texts = {
    running: `${warming.done} of ${warming.total}${warming.symbol ? `, last: ${warming.symbol}` : ""}`,
    done: `done: ${warming.done} of ${warming.total}${warming.failed ? `, ${count(warming.failed, "symbol")} failed` : ""}`,
    failed: `failed: ${warming.error}`,
  };
  setText("warming-text", texts[warming.state] || "");
  element("warming-bar").value = warming.total ? warming.done / warming.total : 0;
}

function showCoverage(every) {
  element("coverage-empty").hidden = every.length > 0;
  const ends = every.flatMap((one) => one.spans.flat()).map(Date.parse);
  const from = Math.min(...ends);
  const length = Math.max(...ends) - from || 1;
  element("coverage").replaceChildren(...every.map((one) => {
    const item = made("li");
    const track = made("div", "track");
    for (const [lo, hi] of one.spans) {
      const fill = made("div", "fill");
      fill.style.left = `${((Date.parse(lo) - from) / length) * 100}%`;
      fill.style.width = `${((Date.parse(hi) - Date.parse(lo)) / length) * 100}%`;
      fill.title = `${lo} to ${hi}`;
      track.append(fill);
    }
    const options = [one.session, one.adjustment, one.feed].filter(
      (text) => !["regular", "splits", "realtime"].includes(text));
    const name = [one.symbol, one.interval, ...options].join(" · ");
    track.setAttribute("role", "img");
    track.setAttribute("aria-label", one.spans.map(([lo, hi]) => `${day(lo)} to ${day(hi)}`).join(", ") || "nothing");
    const bars = made("div", "quiet", `${day(one.first)} to ${day(one.last)}`);
    item.append(pair(name, count(one.bars, "bar")), track, bars);
    return item;
  }));
  element("coverage-scale").hidden = ends.length === 0;
  if (ends.length) {
    setText("scale-from", day(new Date(from).toISOString()));
    setText("scale-to", day(new Date(from + length).toISOString()));
  }
}

async function update() {
  if (isBusy) return;
  isBusy = true;
  clearTimeout(timer);
  try {
    const [stats, coverage] = await Promise.all(
      [ask("/api/cache/stats"), ask("/api/cache/coverage?limit=20")]);
    showStats(stats);
    showCoverage(coverage);
    element("sign-in").hidden = true;
    element("figures").hidden = false;
    showState("good", "up");
    setText("updated", `Updated ${new Date().toLocaleTimeString()}, every ${EVERY_MS / 1000} s`);
  } catch (failure) {
    const needsToken = failure.status === 401;
    element("sign-in").hidden = !needsToken;
    element("figures").hidden = needsToken;
    showState("bad", failure.status ? failure.message : "the server does not answer");
    if (needsToken) { isBusy = false; return; }
  }
  isBusy = false;
  if (!document.hidden) timer = setTimeout(update, EVERY_MS);
}

element("sign-in").addEventListener("submit", (event) => {
  event.preventDefault();
  token = element("token").value.trim();
  element("token").value = "";
  update();
});
document.addEventListener("visibilitychange", () => { if (!document.hidden) update(); });
update();

// Keeps an open page up to date and lets the keyboard move through it. Every page works without this.
"use strict";

(() => {
  const base = document.documentElement.dataset.base;
  let source = null;
  let refreshAt = 0;
  let refreshTimer = 0;

  const jobsHere = () => {
    const ids = new Set();
    for (const element of document.querySelectorAll("[data-job]")) ids.add(element.dataset.job);
    return [...ids].slice(0, 2000);
  };

  const words = { "almost-done": "almost done" };

  const patch = (row) => {
    for (const element of document.querySelectorAll(`[data-job="${row.id}"]`)) {
      const marked = element.matches("[data-status]") ? [element] : element.querySelectorAll(".chip[data-status]");
      for (const one of marked) {
        one.dataset.status = row.status;
        const text = one.matches(".chip") ? one : one.querySelector(".state");
        if (text) text.textContent = words[row.status] || row.status;
      }
      const bar = element.querySelector("progress");
      if (bar && row.progress !== null) bar.value = row.progress;
    }
    const seen = document.querySelector(`[data-refresh="${row.id}"]`);
    if (seen && seen.dataset.updated !== row.updated) {
      seen.dataset.updated = row.updated;
      refreshSoon();
    }
  };

  // The parts of this page that changed are fetched again, at most twice a second.
  const refreshSoon = () => {
    clearTimeout(refreshTimer);
    refreshTimer = setTimeout(refresh, Math.max(0, refreshAt + 500 - Date.now()));
  };

  const refresh = async () => {
    refreshAt = Date.now();
    const response = await fetch(location.href, { credentials: "same-origin" });
    if (!response.ok) return;
    const fresh = new DOMParser().parseFromString(await response.text(), "text/html");
    for (const old of document.querySelectorAll("[data-part]")) {
      const now = fresh.querySelector(`[data-part="${old.dataset.part}"]`);
      if (now && !old.contains(document.activeElement) && now.innerHTML !== old.innerHTML) old.replaceWith(now);
    }
  };

  const listen = () => {
    const overview = document.querySelector("[data-overview]");
    const ids = jobsHere();
    if (source || document.hidden || (!overview && !ids.length)) return;
    const query = new URLSearchParams();
    if (ids.length) query.set("jobs", ids.join(","));
    if (overview) query.set("overview", "1");
    source = new EventSource(`${base}/live?${query}`);
    source.addEventListener("states", (event) => JSON.parse(event.data).forEach(patch));
    source.addEventListener("overview", (event) => {
      if (!overview.contains(document.activeElement)) overview.innerHTML = JSON.parse(event.data);
    });
  };

  const stop = () => {
    if (source) source.close();
    source = null;
  };

  // A browser has six connections to a server: a page that nobody sees gives its own back.
  document.addEventListener("visibilitychange", () => (document.hidden ? stop() : listen()));
  addEventListener("pagehide", stop);
  addEventListener("pageshow", listen);
  listen();

  const places = { o: "/", j: "/jobs", p: "/pools", m: "/methods", s: "/scheduled", f: "/failed", g: "/gearman", w: "/workers", a: "/audit" };
  let isGoing = false;

  const step = (by) => {
    const links = [...document.querySelectorAll("main tbody tr")].map((row) => row.querySelector("a")).filter(Boolean);
    if (!links.length) return;
    const here = links.findIndex((link) => link.closest("tr").contains(document.activeElement));
    links[Math.min(Math.max(here + by, 0), links.length - 1)].focus();
  };

  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
    if (isGoing) {
      isGoing = false;
      if (places[event.key]) location.href = base + places[event.key];
      return;
    }
    if (event.key === "/") {
      const box = document.querySelector("input[type=search]");
      if (box) {
        event.preventDefault();
        box.focus();
        box.select();
      } else location.href = `${base}/jobs`;
    } else if (event.key === "g") isGoing = true;
    else if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
  });
})();

// Improves pages that work without it: times in the visitor's own zone, and pages that follow what
// they show. Nothing here is needed to read a page or to send a form.
"use strict";

const SECOND = 1000;
const OFTEN = SECOND;
const RARELY = 5 * SECOND; // once nobody has touched the page for a while, or the app is away
const UNUSED = 300 * SECOND;
const LOST_AFTER = 3; // looks in a row that failed, before the page says so

const DAY = { day: "numeric", month: "short", year: "numeric" };
const FORMS = {
  day: DAY,
  moment: { ...DAY, hour: "2-digit", minute: "2-digit" },
  title: { ...DAY, hour: "2-digit", minute: "2-digit", second: "2-digit" },
};

function showTimes(within) {
  for (const time of within.querySelectorAll("time[data-form]")) {
    const form = time.dataset.form;
    const shown = new Intl.DateTimeFormat("en-GB", FORMS[form]).format(new Date(time.dateTime));
    if (form === "title") {
      time.title = shown;
    } else {
      time.title = time.textContent;
      time.textContent = shown;
    }
  }
}

let usedAt = Date.now();
let failures = 0;
let isLooking = false;
let timer;

// Brings the page up to date, where it is not.
async function look() {
  const follow = document.querySelector("[data-version]");
  const version = await read(follow.dataset.versionAt);
  if (version === follow.dataset.version) return;

  const page = new DOMParser().parseFromString(await read(location.href), "text/html");
  replaceParts(page);
}

async function read(address) {
  // A redirect leads to the page to sign in, which is no part of this one.
  const answer = await fetch(address, { redirect: "error", cache: "no-store" });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  return answer.text();
}

function replaceParts(page) {
  const [old, fresh] = [document, page].map((where) => [...where.querySelectorAll("[data-live]")]);
  const isSame = old.length === fresh.length && old.every((part, n) => part.id === fresh[n].id);
  if (!isSame) {
    location.reload(); // another state of the connection: another page
    return;
  }
  fresh.forEach((part, n) => {
    const place = placeOfFocus(old[n]);
    const isOpen = old[n].querySelector("details")?.open;
    showTimes(part);
    old[n].replaceWith(document.adoptNode(part));
    part.querySelectorAll("details").forEach((details) => (details.open = Boolean(isOpen)));
    if (place >= 0) focusable(part)[place]?.focus();
  });
}

const focusable = (part) => [...part.querySelectorAll("a, button, summary")];
const placeOfFocus = (part) => focusable(part).indexOf(document.activeElement);

async function goOn() {
  clearTimeout(timer);
  if (document.hidden || isLooking) return; // until it is looked at again
  isLooking = true;
  try {
    await look();
    failures = 0;
  } catch {
    failures += 1;
  }
  isLooking = false;
  const follow = document.querySelector("[data-version]");
  follow.hidden = failures < LOST_AFTER;
  const isRare = failures >= LOST_AFTER || Date.now() - usedAt > UNUSED;
  timer = setTimeout(goOn, isRare ? RARELY : OFTEN);
}

showTimes(document);
if (document.querySelector("[data-version]")) {
  for (const used of ["pointermove", "keydown", "scroll"]) {
    addEventListener(used, () => (usedAt = Date.now()), { passive: true });
  }
  document.addEventListener("visibilitychange", () => {
    usedAt = Date.now();
    goOn();
  });
  timer = setTimeout(goOn, OFTEN);
}

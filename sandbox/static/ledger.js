// Updates the ledger while the page is visible, and sends its forms without leaving the page.
// Without this script, the Reload link and the plain forms do the same.
(() => {
  const every = 2000;
  const pulse = document.getElementById("pulse");
  let shown = document.getElementById("main").innerHTML;
  let newest = newestLine(document);

  function newestLine(page) {
    const line = page.querySelector("[data-n]");
    return line ? Number(line.dataset.n) : 0;
  }

  function say(words, away) {
    if (pulse.textContent !== words) pulse.textContent = words;
    pulse.classList.toggle("away", away);
  }

  // While the user types or selects text, the page is not updated.
  function isBusy() {
    const selection = document.getSelection();
    return document.activeElement.matches("input, select") ||
      (selection !== null && !selection.isCollapsed);
  }

  // Replaces the content of <main>; focus and open details are restored by id.
  function swap(page) {
    const main = document.getElementById("main");
    const fresh = page.getElementById("main");
    if (fresh.innerHTML === shown) return;
    shown = fresh.innerHTML;

    const focused = main.contains(document.activeElement) ? document.activeElement.id : "";
    const open = [...main.querySelectorAll("details[open]")].map((details) => details.id);
    for (const line of fresh.querySelectorAll("[data-n]")) {
      if (Number(line.dataset.n) > newest) line.classList.add("fresh");
    }
    newest = newestLine(fresh);
    main.replaceChildren(...fresh.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  }

  async function parsed(answer) {
    return new DOMParser().parseFromString(await answer.text(), "text/html");
  }

  async function look() {
    if (document.hidden || isBusy()) return;
    try {
      const page = await parsed(await fetch("/", { cache: "no-store" }));
      if (!isBusy()) swap(page);
      say("Updates by itself", false);
    } catch {
      say("The sandbox does not answer", true);
    }
  }

  async function press(event) {
    event.preventDefault();
    const form = event.target;
    try {
      const answer = await fetch(form.action, {
        method: "POST",
        body: new URLSearchParams(new FormData(form)),
      });
      if (!answer.ok) throw new Error(answer.statusText);
      swap(await parsed(answer));
    } catch {
      form.submit();
    }
  }

  say("Updates by itself", false);
  setInterval(look, every);
  document.addEventListener("visibilitychange", look);
  document.addEventListener("submit", press);
})();

// Dark and light, and the keyboard.
//
//   themeToggle()                a button that switches between dark and light and remembers it where it may
//   shortcuts([{keys, says, does, shown}])
//       keys: KeyboardEvent.key values; says: what the help calls it; does(event); shown: how the help writes the keys.
//       Idle while one types in a field or a modifier is held, except Escape. "?" and the button open the help.
//       Returns the help's button.
//   onTheme(listener)            called after each change of colours, the system's too (for a canvas)

const THEME_KEY = "fast-sae-theme";
const THEME_LISTENERS = [];
const SYSTEM_DARK = matchMedia("(prefers-color-scheme: dark)");

function storedTheme() {
  try {
    return localStorage.getItem(THEME_KEY);
  } catch {
    return null; // storage may be forbidden for files
  }
}

function isDark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : SYSTEM_DARK.matches;
}

function setTheme(theme) {
  if (theme === "dark" || theme === "light") document.documentElement.dataset.theme = theme;
  try {
    localStorage.setItem(THEME_KEY, theme);
  } catch {
    // storage may be forbidden for files; the choice then lasts as long as the page
  }
  THEME_LISTENERS.forEach((listener) => listener());
}

function onTheme(listener) {
  THEME_LISTENERS.push(listener);
}

function themeToggle() {
  const button = el("button", {type: "button", class: "quiet", onclick: () => setTheme(isDark() ? "light" : "dark")});
  const label = () => fill(button, el("span", {"aria-hidden": "true"}, isDark() ? "☀" : "☾"),
    el("span", {class: "wide-only"}, isDark() ? " Light" : " Dark"),
    el("span", {class: "visually-hidden"}, " colours"));
  onTheme(label);
  label();
  return button;
}

function typing(target) {
  return target instanceof Element && target.closest("input, textarea, select, [contenteditable]") !== null;
}

function shortcuts(list) {
  const help = helpDialog(list);
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (typing(event.target) && event.key !== "Escape") return;
    if (event.key === "?") {
      event.preventDefault();
      help.showModal();
      return;
    }
    const found = list.find(({keys}) => keys.includes(event.key));
    if (found) found.does(event);
  });
  return el("button", {type: "button", class: "quiet", "aria-label": "Keyboard help",
    onclick: () => help.showModal()}, "?");
}

function helpDialog(list) {
  const entries = [...list, {keys: ["?"], says: "this help"}];
  const dialog = el("dialog", {class: "help", "aria-label": "Keyboard"}, el("h2", {}, "Keyboard"),
    el("dl", {}, entries.map(({keys, says, shown: how}) => [
      el("dt", {}, (how || keys).map((key) => [el("kbd", {}, key), " "])), el("dd", {}, says)])),
    el("button", {type: "button", onclick: () => dialog.close()}, "Close"));
  document.body.append(dialog);
  return dialog;
}

const CHOSEN_THEME = storedTheme();
if (CHOSEN_THEME === "dark" || CHOSEN_THEME === "light") document.documentElement.dataset.theme = CHOSEN_THEME;
SYSTEM_DARK.addEventListener("change", () => THEME_LISTENERS.forEach((listener) => listener()));

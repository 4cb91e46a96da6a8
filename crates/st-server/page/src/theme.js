// Runs before the first paint, so that a theme that was chosen by hand does not flash.
(() => {
  try {
    const theme = localStorage.getItem("theme");
    if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
  } catch {
    // Without storage, the theme of the system is shown.
  }
})();

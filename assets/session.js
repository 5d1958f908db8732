// Looks whether the session of this browser still counts, and says when its person is there: pointer and keys are what
// keeps a session alive, open sockets and timers are not. When it is over, whatever is on the screen goes away with it.
(() => {
  const CHECK_MS = 3000;
  const token = () => (document.cookie.match(/(?:^|; )__Host-everbeat-csrf=([^;]+)/) ?? [])[1];
  if (!token()) return; // nobody has signed in: a house without accounts
  let there = false;
  for (const kind of ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart']) {
    window.addEventListener(kind, () => { there = true; }, {passive: true, capture: true});
  }
  const leave = () => {
    const here = window.location.pathname + window.location.search;
    window.location.replace(`/sign-in?ended=1&next=${encodeURIComponent(here)}`);
  };
  setInterval(async () => {
    const own = token();
    const tell = there && own;
    there = false;
    try {
      const answer = await fetch('/session', tell ? {method: 'POST', headers: {'X-CSRFToken': own}} : {});
      if ([401, 403].includes(answer.status)) leave();
    } catch { // the server is not there: the page says so itself
      there ||= Boolean(tell);
    }
  }, CHECK_MS);
})();

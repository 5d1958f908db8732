// Looks whether the session of this browser still counts, and says when its person is there: pointer and keys are what
// keeps a session alive, open sockets and timers are not. Some minutes before its end it says so. When it is over, whatever
// is on the screen goes away with it, at once and in place, also where the server can't be asked any more.
(() => {
  const CHECK_MS = 3000;
  const IDLE_WARN_S = 5 * 60;
  const MOST_WARN_S = 15 * 60;
  const SCREEN_WARN_S = 3 * 86400; // a screen on a wall, which is never idle, needs somebody to come
  const token = () => (document.cookie.match(/(?:^|; )__Host-everbeat-csrf=([^;]+)/) ?? [])[1];
  if (!token()) return; // nobody has signed in: a house without accounts
  let there = false;
  let ends = {idle: Infinity, most: Infinity}; // when, by this page's own clock (Unix ms)
  let warning = null;
  let over = false;
  const words = {};
  for (const kind of ['pointerdown', 'pointermove', 'keydown', 'wheel', 'touchstart']) {
    window.addEventListener(kind, () => { there = true; }, {passive: true, capture: true});
  }

  const here = () => encodeURIComponent(window.location.pathname + window.location.search);
  const clock = (ms, options = {hour: '2-digit', minute: '2-digit'}) =>
    new Intl.DateTimeFormat(document.documentElement.lang, {hourCycle: 'h23', ...options}).format(new Date(ms));
  const said = (name, facts = {}) => (words[name] ?? '').replace(/\{(\w+)\}/g, (_, key) => facts[key] ?? '');
  const made = (tag, facts, ...inside) => {
    const node = Object.assign(document.createElement(tag), facts);
    node.append(...inside);
    return node;
  };

  /** The words that the page brings along, in its language; false where it is not drawn yet. */
  function learn() {
    return Boolean(Object.assign(words, document.getElementById('eb-leave')?.dataset).title);
  }

  function end() {
    if (over) return;
    over = true;
    if (!learn()) return window.location.replace(`/sign-in?ended=1&next=${here()}`); // nothing was drawn yet
    const way = made('a', {className: 'eb-button', href: `/sign-in?next=${here()}`}, said('again'));
    const title = made('div', {}, made('h1', {}, said('title')));
    const panel = made('main', {className: 'eb-gone', id: 'eb-ended'}, title, made('p', {}, said('text', {time: clock(Date.now())})), way);
    title.setAttribute('role', 'alert');
    document.title = said('title');
    window.dispatchEvent(new Event('everbeat:ended')); // sockets, sound and memory
    document.body.replaceChildren(panel);
    way.focus();
  }

  async function look(tell) {
    const own = token();
    try {
      const answer = await fetch('/session', tell && own ? {method: 'POST', headers: {'X-CSRFToken': own}} : {});
      if ([401, 403].includes(answer.status)) return end();
      if (!answer.ok) throw new Error(String(answer.status));
      const at = (name) => Date.now() + 1000 * Number(answer.headers.get(name) ?? Infinity);
      ends = {idle: at('Everbeat-Idle-S'), most: at('Everbeat-Left-S')};
    } catch { // the server is not there, or too busy: the page says so itself
      there ||= tell;
      if (Date.now() >= Math.min(ends.idle, ends.most)) return end();
    }
    warn();
  }

  /** What is to be said now: [kind, facts], or nothing. */
  function due() {
    const now = Date.now();
    const [idle, most] = [(ends.idle - now) / 1000, (ends.most - now) / 1000];
    if (idle < IDLE_WARN_S && idle < most) return ['idle', {minutes: Math.max(1, Math.ceil(idle / 60))}];
    if (most < MOST_WARN_S) return ['most', {minutes: Math.max(1, Math.ceil(most / 60)), time: clock(ends.most)}];
    if (ends.idle === Infinity && most < SCREEN_WARN_S) return ['days', {time: clock(ends.most), date: clock(ends.most, {day: 'numeric', month: 'long'})}];
    return [''];
  }

  function warn() {
    if (over || !learn()) return;
    const [kind, facts] = due();
    if (!kind || warning?.dataset.kind !== kind) {
      warning?.remove();
      warning = null;
    }
    if (!kind) return;
    if (!warning) {
      const stay = made('button', {type: 'button', className: 'eb-button'}, said('stay'));
      stay.addEventListener('click', () => look(true));
      const anew = made('a', {className: 'eb-button', href: `/sign-in?next=${here()}`}, said('anew'));
      warning = made('aside', {className: 'eb-leaving'}, made('span', {}), kind === 'idle' ? stay : anew);
      warning.dataset.kind = kind;
      warning.firstChild.setAttribute('role', 'status');
      document.body.append(warning);
    }
    const text = said(kind, facts);
    if (warning.firstChild.textContent !== text) warning.firstChild.textContent = text;
  }

  const check = () => {
    if (over) return;
    const tell = there;
    there = false;
    look(tell);
  };
  window.addEventListener('everbeat:session', () => look(false));
  setInterval(check, CHECK_MS);
  check();
})();

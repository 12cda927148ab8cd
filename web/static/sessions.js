// The list: fetches its own rows again.
import { keepFresh } from './page.js';

keepFresh(document.getElementById('sessions'), () => {
  const url = new URL(location.href);
  url.searchParams.set('fragment', 'true');
  return url;
}, 3);

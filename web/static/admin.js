// The deployment as it is now.
import { keepFresh } from './page.js';

keepFresh(document.getElementById('now'), () => '/admin/now', 10)();

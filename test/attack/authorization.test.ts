/** All that must not get past authorization, in one list: tokens, passwords and API keys, and headers that say who asks. */
import "./authorization/tokens.ts";
import "./authorization/credentials.ts";
import "./authorization/header-spoofing.ts";

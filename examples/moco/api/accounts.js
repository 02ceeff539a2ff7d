// SPDX-License-Identifier: Apache-2.0
//
// Accounts and tokens. An access token is signed and short-lived (a JSON web token, RFC 7519, with HS256); the
// server only remembers, in Redis, those that were blocked by a logout, for as long as they would have been
// valid. A refresh token is a random number that Redis knows until it expires or is used: each brings the next.
'use strict';
const crypto = require('crypto');
const util = require('util');
const { Refused } = require('./serve.js');
const { query, tokens } = require('./store.js');
const version = require('./version.js');

const ACCESS_SECONDS = 10 * 60;
const REFRESH_SECONDS = 7 * 24 * 3600;
const scrypt = util.promisify(crypto.scrypt);

const encode = value => Buffer.from(JSON.stringify(value)).toString('base64url');
const sign = text => crypto.createHmac('sha256', process.env.TOKEN_SECRET).update(text).digest('base64url');
const same = (a, b) => a.length === b.length && crypto.timingSafeEqual(Buffer.from(a), Buffer.from(b));
// Whoever reads the data store finds no token to use.
const refreshKey = token => 'refresh:' + crypto.createHash('sha256').update(token).digest('hex');

async function newTokens(user) {
  const claims = { sub: user, jti: crypto.randomUUID(), exp: Math.floor(Date.now() / 1000) + ACCESS_SECONDS };
  const text = `${encode({ alg: 'HS256', typ: 'JWT' })}.${encode(claims)}`;
  const refresh = crypto.randomBytes(32).toString('base64url');
  await tokens.set(refreshKey(refresh), String(user), { EX: REFRESH_SECONDS });
  return { access: `${text}.${sign(text)}`, refresh, expires_in: ACCESS_SECONDS };
}

/** The claims of the request's access token; refuses with 401. */
async function authenticate(request) {
  const [, head, body, signature] = /^Bearer ([\w-]+)\.([\w-]+)\.([\w-]+)$/.exec(request.headers.authorization || '') || [];
  if (!signature || !same(signature, sign(`${head}.${body}`))) throw new Refused(401, 'no valid access token');
  const claims = JSON.parse(Buffer.from(body, 'base64url'));
  if (claims.exp <= Date.now() / 1000) throw new Refused(401, 'the access token has expired');
  if (await tokens.exists('blocked:' + claims.jti)) throw new Refused(401, 'logged out');
  return claims;
}

function credentials({ name, password } = {}) {
  if (typeof name !== 'string' || !/^[\w.@-]{1,64}$/.test(name)) throw new Refused(400, 'a name has letters, digits and . @ _ -');
  if (typeof password !== 'string' || password.length < 8 || password.length > 200) throw new Refused(400, 'a password has 8 to 200 characters');
  return { name, password };
}

async function register(body) {
  const { name, password } = credentials(body);
  const salt = crypto.randomBytes(16);
  try {
    const { insertId } = await query('INSERT INTO users (name, salt, hash) VALUES (?, ?, ?)', [name, salt, await scrypt(password, salt, 32)]);
    return { id: insertId, name };
  } catch (error) {
    if (error.code === 'ER_DUP_ENTRY') throw new Refused(409, 'there is a user of this name');
    throw error;
  }
}

async function login(body) {
  const { name, password } = credentials(body);
  const [user] = await query('SELECT id, salt, hash FROM users WHERE name = ?', [name]);
  // As much work for a name that does not exist, so that the time tells nothing.
  const hash = await scrypt(password, user ? user.salt : Buffer.alloc(16), 32);
  if (!user || !crypto.timingSafeEqual(hash, user.hash)) throw new Refused(401, 'wrong name or password');
  return newTokens(user.id);
}

async function refresh({ refresh: token } = {}) {
  // Taken out and looked at in one step: of two that come with it, one gets the next pair.
  const user = typeof token === 'string' ? await tokens.getDel(refreshKey(token)) : null;
  if (!user) throw new Refused(401, 'the refresh token is not valid any more');
  return newTokens(Number(user));
}

async function logout(request, { refresh: token } = {}) {
  const claims = await authenticate(request);
  if (typeof token === 'string') await tokens.del(refreshKey(token));
  await tokens.set('blocked:' + claims.jti, '1', { EX: Math.max(1, claims.exp - Math.floor(Date.now() / 1000)) });
  return { logged_out: true };
}

async function me(request) {
  const claims = await authenticate(request);
  const [user] = await query(version.profile + ' WHERE id = ?', [claims.sub]);
  if (!user) throw new Refused(404, 'the user is gone');
  return user;
}

module.exports = { authenticate, login, logout, me, refresh, register };

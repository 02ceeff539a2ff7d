// SPDX-License-Identifier: Apache-2.0
//
// The connections: a pool to MariaDB, one to Redis. Both come back by themselves when they were lost.
'use strict';
const util = require('util');
const mysql = require('mysql');
const redis = require('redis');

const pool = mysql.createPool({
  host: process.env.DB_HOST, user: process.env.DB_USER, password: process.env.DB_PASSWORD, database: 'moco',
  charset: 'utf8mb4', connectionLimit: 8, connectTimeout: 3000,
});

const tokens = redis.createClient({ url: `redis://${process.env.REDIS_HOST}`, socket: { connectTimeout: 3000 } });
tokens.on('error', error => console.error(`redis: ${error.message}`));

module.exports = { query: util.promisify(pool.query).bind(pool), end: util.promisify(pool.end).bind(pool), tokens };

'use strict';

// The dashboard at /dashboard: static files without any data. The page loads its data from the
// admin API beside it, with the token of the user.

const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');

const { optionsOf } = require('../base/options');
const { checkPeers, requirePeer } = require('../base/peer');
const { notFound, problem } = require('./problem');
const refusals = require('./refusals');

// It has none; misspelt names are rejected all the same.
const OPTIONS = optionsOf({});

const FOLDER = path.join(__dirname, 'dashboard');
const TYPES = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.svg': 'image/svg+xml',
};

// Nothing from elsewhere, nothing inline. The only frame is that of a mail's preview.
const HEADERS = {
  'Content-Security-Policy': "default-src 'none'; script-src 'self'; style-src 'self'; " +
    "connect-src 'self'; img-src 'self' data:; frame-src 'self'; base-uri 'none'; " +
    "form-action 'none'; " +
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Referrer-Policy': 'no-referrer',
  'Cross-Origin-Opener-Policy': 'same-origin',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
  // Browsers ask each time, and get 304.
  'Cache-Control': 'no-cache',
};

// The empty page in which the dashboard shows a mail. It may have the styles of the mail, but no
// scripts, and nothing from elsewhere.
const PREVIEW = 'preview.html';
const PREVIEW_HEADERS = {
  ...HEADERS,
  'Content-Security-Policy': "default-src 'none'; style-src 'unsafe-inline'; img-src data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-same-origin",
  'X-Frame-Options': 'SAMEORIGIN',
};

/** The files of two packages. */
function vendorFiles () {
  const htm = path.dirname(require.resolve('htm/preact'));
  const uplot = path.dirname(require.resolve('uplot'));
  return {
    'vendor/preact.js': path.join(htm, 'standalone.module.js'),
    'vendor/uplot.js': path.join(uplot, 'uPlot.iife.min.js'),
    'vendor/uplot.css': path.join(uplot, 'uPlot.min.css'),
  };
}

/** All files by their path below /dashboard/: { type, body, etag }. */
function readFiles () {
  const own = Object.fromEntries(fs.readdirSync(FOLDER)
    .map(name => [name === 'index.html' ? '' : name, path.join(FOLDER, name)]));
  const files = new Map();
  for (const [name, file] of Object.entries({ ...own, ...vendorFiles() })) {
    const body = fs.readFileSync(file);
    const etag = `"${createHash('sha256').update(body).digest('base64url')}"`;
    files.set(name, { type: TYPES[path.extname(file)], body, etag });
  }
  return files;
}

/** Express router of the dashboard at /dashboard/. The admin API must be mounted beside it. */
function createDashboardRouter (options) {
  OPTIONS.read(options);
  checkPeers(['express', 'htm', 'uplot'], 'createDashboardRouter');
  const express = requirePeer('express', 'createDashboardRouter');
  const files = readFiles();
  const router = express.Router();
  router.use('/dashboard', function serveFile (req, res) {
    if (req.method !== 'GET' && req.method !== 'HEAD') {
      return refusals.answer(res, () => {
        res.setHeader('Allow', 'GET, HEAD');
        problem(res, 405, { code: 'ERR_METHOD_NOT_ALLOWED' });
      });
    }
    // The page loads its parts by relative paths, so its own path must end with a slash.
    const isBare = !/^[^?]*\/dashboard\//.test(req.originalUrl);
    if (isBare) return res.redirect(308, 'dashboard/');
    const name = req.path.slice(1);
    const file = files.get(name);
    if (file === undefined) return refusals.answer(res, () => notFound(req, res));
    const headers = name === PREVIEW ? PREVIEW_HEADERS : HEADERS;
    res.set({ ...headers, 'Content-Type': file.type, ETag: file.etag });
    if (req.headers['if-none-match'] === file.etag) return res.status(304).end();
    res.setHeader('Content-Length', file.body.length);
    res.end(req.method === 'HEAD' ? undefined : file.body);
  });
  return router;
}

module.exports = { createDashboardRouter };

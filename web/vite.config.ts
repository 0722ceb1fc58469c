/**
 * Builds the console to web/dist: one page, hashed assets, nothing inline, so that it runs under
 * `script-src 'self'; style-src 'self'` with Trusted Types and no policy of its own.
 */
import tailwindcss from '@tailwindcss/vite';
import react from '@vitejs/plugin-react';
import { defineConfig } from 'vite';

export default defineConfig({
  root: import.meta.dirname,
  plugins: [react(), tailwindcss()],
  build: {
    outDir: 'dist',
    emptyOutDir: true,
    target: 'es2023',
    // A data: URL would need its own word in the content security policy.
    assetsInlineLimit: 0,
    modulePreload: { polyfill: false },
    chunkSizeWarningLimit: 700,
  },
  server: {
    // For work on the console alone: a Sallyport started elsewhere answers the API.
    proxy: { '/api': 'http://localhost:7700', '/oauth': 'http://localhost:7700' },
  },
});

-- Is this sale's memory whole?
-- ARGV: run_id
-- Returns ok
return stranger() or { 'ok' }

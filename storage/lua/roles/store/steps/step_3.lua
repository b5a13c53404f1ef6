-- Version 3: keys of the API, sessions of the page, and the audit.

local step = {}

function step.rows()
    -- `hash`: SHA-256 of the key, in hex: the key itself is never stored. `channels`, `kinds`: what it is limited to;
    -- nil: all. `most`: the largest audience that it may fire at. Times: ms UTC.
    local keys = box.schema.space.create('store_api_keys', {format = {
        {'id', 'string'}, {'hash', 'string'}, {'name', 'string'}, {'role', 'string'}, {'created_at', 'unsigned'},
        {'channels', 'array', is_nullable = true}, {'kinds', 'array', is_nullable = true},
        {'most', 'unsigned', is_nullable = true}, {'expires_at', 'unsigned', is_nullable = true},
        {'revoked_at', 'unsigned', is_nullable = true}, {'used_at', 'unsigned', is_nullable = true},
    }})
    keys:create_index('id', {parts = {'id'}})
    keys:create_index('hash', {parts = {'hash'}})
    -- Sessions, and codes that a session can be had for once. `kind`: 'session' or 'code'; `key`: the key's id, or
    -- 'local NODE' for a node's own.
    local tickets = box.schema.space.create('store_tickets', {format = {
        {'hash', 'string'}, {'kind', 'string'}, {'key', 'string'}, {'expires_at', 'unsigned'},
    }})
    tickets:create_index('hash', {parts = {'hash'}})
    tickets:create_index('key', {parts = {'key'}, unique = false})
    tickets:create_index('expires', {parts = {'expires_at'}, unique = false})
    -- Who did what, when: only ever added to, until it is old.
    local audit = box.schema.space.create('store_audit', {format = {
        {'number', 'unsigned'}, {'at', 'unsigned'}, {'node', 'string'}, {'key', 'string'}, {'name', 'string'},
        {'action', 'string'}, {'about', 'string'}, {'status', 'unsigned'}, {'detail', 'map'},
    }})
    audit:create_index('number', {parts = {'number'}})
end

return step

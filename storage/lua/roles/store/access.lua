-- Who may use the API: keys, sessions of the page, and the audit of what they changed.

local atomic = require('roles.atomic')
local access = {}

local MOST_KEYS = 10000
local MOST_TICKETS = 10000
local A_STEP = 200 -- old rows deleted in one call
local AUDIT_KEEP = 365 * 86400 * 1000 -- ms
local AUDIT_MOST = 1000000 -- entries; then the oldest leave

-- Add a key, a row of store_api_keys. Returns false if there is one with this id or hash.
function access.key_add(row)
    return atomic(function()
        local keys = box.space.store_api_keys
        if keys:get({row[1]}) ~= nil or keys.index.hash:get({row[2]}) ~= nil then
            return false
        end
        if keys:len() >= MOST_KEYS then
            error(('there are %d keys already: revoke and remove some'):format(MOST_KEYS), 0)
        end
        keys:insert(row)
        return true
    end)
end

-- All keys, the oldest first; revoked ones, too.
function access.key_list()
    return box.space.store_api_keys:select({}, {limit = MOST_KEYS})
end

-- The key of an id, or nil.
function access.key_get(id)
    return box.space.store_api_keys:get({id})
end

-- The key of a hash, or nil.
function access.key_find(hash)
    return box.space.store_api_keys.index.hash:get({hash})
end

-- Revoke a key and end its sessions. Returns the key, or nil if there is none of this id.
function access.key_revoke(id, now)
    return atomic(function()
        local key = box.space.store_api_keys:get({id})
        if key == nil then
            return nil
        end
        for _, ticket in ipairs(box.space.store_tickets.index.key:select({id})) do
            box.space.store_tickets:delete({ticket.hash})
        end
        if key.revoked_at ~= nil then
            return key
        end
        return box.space.store_api_keys:update({id}, {{'=', 'revoked_at', now}})
    end)
end

-- End the sessions of a node's own key, which is no row here.
function access.tickets_end(key)
    return atomic(function()
        local found = box.space.store_tickets.index.key:select({key})
        for _, ticket in ipairs(found) do
            box.space.store_tickets:delete({ticket.hash})
        end
        return #found
    end)
end

-- A key was used at `now` (ms UTC).
function access.key_used(id, now)
    return atomic(function()
        local key = box.space.store_api_keys:get({id})
        if key ~= nil and (key.used_at == nil or key.used_at < now) then
            box.space.store_api_keys:update({id}, {{'=', 'used_at', now}})
        end
    end)
end

-- Keep a session or a code: {hash, kind, key, expires_at}. Some that have expired leave.
function access.ticket_add(row, now)
    return atomic(function()
        local tickets, old = box.space.store_tickets, {}
        for _, ticket in tickets.index.expires:pairs() do
            if ticket.expires_at > now or #old >= A_STEP then
                break
            end
            table.insert(old, ticket.hash)
        end
        for _, hash in ipairs(old) do
            tickets:delete({hash})
        end
        if tickets:len() >= MOST_TICKETS then
            error(('%d sessions are open already: end some'):format(MOST_TICKETS), 0)
        end
        tickets:insert(row)
    end)
end

-- The key's id of a ticket that holds, or nil. once: it holds no longer.
function access.ticket_key(hash, kind, now, once)
    return atomic(function()
        local ticket = box.space.store_tickets:get({hash})
        if ticket == nil or ticket.kind ~= kind or ticket.expires_at <= now then
            return nil
        end
        if once then
            box.space.store_tickets:delete({hash})
        end
        return ticket.key, ticket.expires_at
    end)
end

-- End a session, or a log-in link. Whether there was one.
function access.ticket_end(hash)
    return atomic(function()
        return box.space.store_tickets:delete({hash}) ~= nil
    end)
end

-- Add an entry: {at, node, key, name, action, about, status, detail}. Old entries leave.
function access.audit_add(entry)
    return atomic(function()
        local audit = box.space.store_audit
        local last = audit.index.number:max()
        local number = last == nil and 1 or last.number + 1
        local old = {}
        for _, row in audit:pairs() do
            if #old >= A_STEP or row.at + AUDIT_KEEP > entry[1] and audit:len() - #old < AUDIT_MOST then
                break
            end
            table.insert(old, row.number)
        end
        for _, gone in ipairs(old) do
            audit:delete({gone})
        end
        entry[8] = setmetatable(entry[8], {__serialize = 'map'})
        audit:insert({number, unpack(entry, 1, 8)})
        return number
    end)
end

-- Entries numbered below `before` (nil: all), the newest first.
function access.audit_page(before, limit)
    if before == nil then
        return box.space.store_audit:select({}, {iterator = 'REQ', limit = limit})
    end
    return box.space.store_audit:select({before}, {iterator = 'LT', limit = limit})
end

return access

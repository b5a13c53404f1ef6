-- Idempotency keys: which campaign a client's key has made. A key belongs to its owner, and is found in the very
-- transaction that creates the campaign, so that two requests under one key never make two campaigns.

local atomic = require('roles.atomic')
local keys = {}

local KEEP = 30 * 86400 * 1000 -- ms
local EXPIRED_A_STEP = 200

-- Inside the caller's transaction: {campaign, request} of a key, or nil when it is new or older than KEEP.
local function known(owner, key, now)
    local row = box.space.store_keys:get({owner, key})
    if row == nil or row.created_at + KEEP <= now then
        return nil
    end
    -- written, though nothing changes: the answer then comes after the first request's writes, which may still be on
    -- their way to the disk, and waits for the quorum with them
    box.space.store_keys:update({owner, key}, {{'=', 'created_at', row.created_at}})
    return {row.campaign, setmetatable(row.request, {__serialize = 'map'})}
end

-- Inside the caller's transaction. once: {owner, key, request}. Answers the campaign that has the key already, or nil:
-- the key is now this campaign's.
function keys.take(once, campaign, now)
    local first = known(once[1], once[2], now)
    if first == nil then
        local request = setmetatable(once[3], {__serialize = 'map'})
        box.space.store_keys:replace({once[1], once[2], campaign, request, now})
    end
    return first
end

-- {campaign, request} of a key that is known, or nil.
function keys.campaign_keyed(owner, key, now)
    return atomic(known, owner, key, now)
end

-- Delete some of the keys that are older than KEEP; answers how many.
function keys.keys_expire(now)
    return atomic(function()
        local old = {}
        for _, row in box.space.store_keys.index.created:pairs() do
            if row.created_at + KEEP > now or #old >= EXPIRED_A_STEP then
                break
            end
            table.insert(old, {row.owner, row.key})
        end
        for _, key in ipairs(old) do
            box.space.store_keys:delete(key)
        end
        return #old
    end)
end

return keys

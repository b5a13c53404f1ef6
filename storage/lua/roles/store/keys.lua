-- Idempotency keys: which campaign a client's key has created. A key belongs to its owner. It is looked up in the same
-- transaction that creates the campaign, so that two requests under one key never create two campaigns.

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
    -- written, though nothing changes: so the answer waits until the first request's writes are on disk and with the
    -- quorum
    box.space.store_keys:update({owner, key}, {{'=', 'created_at', row.created_at}})
    return {row.campaign, setmetatable(row.request, {__serialize = 'map'})}
end

-- Inside the caller's transaction. once: {owner, key, request}. Returns the campaign that already has the key, or nil:
-- the key now belongs to this campaign.
function keys.take(once, campaign, now)
    local first = known(once[1], once[2], now)
    if first == nil then
        local request = setmetatable(once[3], {__serialize = 'map'})
        box.space.store_keys:replace({once[1], once[2], campaign, request, now})
    end
    return first
end

-- Inside the caller's transaction: a campaign that was never fired goes, and its key is free again. `key`: nil, if it has
-- none.
function keys.forget_unfired(campaign, owner, key)
    box.space.store_campaigns:delete(campaign)
    box.space.store_listed:delete(campaign)
    if key ~= nil then
        box.space.store_keys:delete({owner, key})
    end
end

-- {campaign, request} of a known key, or nil.
function keys.campaign_keyed(owner, key, now)
    return atomic(known, owner, key, now)
end

-- Delete some of the keys that are older than KEEP; returns how many.
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

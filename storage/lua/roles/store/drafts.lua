-- Drafts: campaigns that editors have written and not fired. A draft that is fired uses an idempotency key of its own,
-- {OWNER, id}: so it is fired once, and whether it was fired is never written twice.

local atomic = require('roles.atomic')
local keys = require('roles.store.keys')
local drafts = {}

local KEEP = 28 * 86400 * 1000 -- ms since its last change; shorter than an idempotency key is kept
local MOST = 500
local EXPIRED_A_STEP = 200
local OWNER = 'draft' -- of the idempotency keys of all drafts: storage/drafts.py has it too

-- The campaign that a draft has become, or nil; and whether it was made, but never fired.
local function campaign_of(id)
    local key = box.space.store_keys:get({OWNER, id})
    if key == nil then
        return nil, false
    end
    local campaign = box.space.store_campaigns:get(key.campaign)
    return key.campaign, campaign ~= nil and campaign.state == 'draft'
end

-- A Fire that failed halfway has left a campaign that was never fired. It goes when its draft changes: the draft can then
-- be fired as it is now.
local function forget_unfired(id, campaign)
    keys.forget_unfired(campaign, OWNER, id)
end

local function found(id, now)
    local row = box.space.store_drafts:get(id)
    return row ~= nil and row.changed_at + KEEP > now and row or nil
end

local function expire(now)
    local old = {}
    for _, row in box.space.store_drafts.index.changed:pairs() do
        if row.changed_at + KEEP > now or #old >= EXPIRED_A_STEP then
            break
        end
        table.insert(old, row.id)
    end
    for _, id in ipairs(old) do
        box.space.store_drafts:delete(id)
    end
end

-- Write a draft, the one of this `version`; 0: a new one. Returns what became of it, the row, and its campaign:
-- `saved` (also if this call is the repeat of one whose answer was lost), `changed`: the row has another version,
-- `fired`, `full`: there are too many drafts, or `missing`.
function drafts.draft_save(id, version, title, request, by, now)
    return atomic(function()
        expire(now)
        local space, row = box.space.store_drafts, found(id, now)
        if row == nil then
            if version ~= 0 then
                return 'missing'
            elseif space:len() >= MOST then
                return 'full'
            end
            return 'saved', space:insert({id, 1, title, request, now, by, now, by})
        end
        local campaign, unfired = campaign_of(id)
        if campaign ~= nil and not unfired then
            return 'fired', row, campaign
        end
        if row.version == version and row.request == request then
            return 'saved', row
        elseif row.version == version + 1 and row.request == request and row.changed_by == by then
            -- written, though nothing changes: so the answer waits until the first call's writes are with the quorum
            return 'saved', space:update(id, {{'=', 'changed_by', by}})
        elseif row.version ~= version then
            return 'changed', row
        end
        if unfired then
            forget_unfired(id, campaign)
        end
        return 'saved', space:update(id, {
            {'+', 'version', 1}, {'=', 'title', title}, {'=', 'request', request}, {'=', 'changed_at', now},
            {'=', 'changed_by', by},
        })
    end)
end

-- A draft and the campaign that it has become, or nil.
function drafts.draft_get(id, now)
    local row = found(id, now)
    if row == nil then
        return nil
    end
    local campaign, unfired = campaign_of(id)
    return row, not unfired and campaign or nil
end

-- Drafts that were not fired, without their requests, the last changed first; `before`: {changed_at, id}, only those
-- behind it.
function drafts.draft_list(limit, before, now)
    local list = {}
    for _, row in box.space.store_drafts.index.changed:pairs(before, {iterator = before and 'LT' or 'REQ'}) do
        if #list >= limit or row.changed_at + KEEP <= now then
            break
        end
        local campaign, unfired = campaign_of(row.id)
        if campaign == nil or unfired then
            table.insert(list, row:update({{'=', 'request', ''}}))
        end
    end
    return list
end

-- Returns whether the draft was there.
function drafts.draft_delete(id)
    return atomic(function()
        local campaign, unfired = campaign_of(id)
        if unfired then
            forget_unfired(id, campaign)
        end
        return box.space.store_drafts:delete(id) ~= nil
    end)
end

return drafts

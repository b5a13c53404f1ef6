-- Armed campaigns: checked, and ready for a Fire of one call. One whose audience is large waits for an approval: by
-- another key than the one that asked for it.

local atomic = require('roles.atomic')
local campaigns = require('roles.store.campaigns')
local armed = {}

local MAP = {__serialize = 'map'}

local function with_policy(c, policy, more)
    local changes = {{'=', 'policy', setmetatable(policy, MAP)}, {'+', 'version', 1}}
    for _, change in ipairs(more or {}) do
        table.insert(changes, change)
    end
    box.space.store_campaigns:update(c.id, changes)
end

-- draft -> armed. approval: what the campaign needs one for, {phones, asked, asked_by}, or nil: it needs none. draft:
-- the draft that it has become of, or nil. Returns its state, unchanged if it was armed or fired before.
function armed.campaign_arm(id, approval, draft, now)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil then
            return nil
        elseif c.state ~= 'draft' then
            box.space.store_campaigns:update(id, {{'=', 'state', c.state}}) -- as in campaign_fire
            return c.state
        end
        local policy = c.policy
        policy.armed = {at = now, draft = draft, approval = approval}
        with_policy(c, policy, {{'=', 'state', 'armed'}})
        return 'armed'
    end)
end

-- Returns what became of it: `approved` (also a second time: then it holds for longer), `own`: the key is the one that
-- asked, `needless`, or the campaign's state if it is not armed; nil: no such campaign.
function armed.campaign_approve(id, key, name, until_, now)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil then
            return nil
        elseif c.state ~= 'armed' then
            return c.state
        end
        local policy = c.policy
        local approval = policy.armed.approval
        if approval == nil then
            return 'needless'
        elseif approval.asked == key then
            return 'own'
        end
        approval.by, approval.name, approval.at, approval.expires_at = key, name, now, until_
        with_policy(c, policy)
        return 'approved'
    end)
end

-- Inside the caller's transaction: armed -> cancelled. The draft that it has become of can be changed again.
function armed.take_back(c, now)
    if c.policy.armed.draft ~= nil then
        box.space.store_keys:delete({'draft', c.policy.armed.draft})
    end
    box.space.store_campaigns:update(c.id, {
        {'=', 'state', 'cancelled'}, {'=', 'finished_at', now}, {'+', 'version', 1},
    })
end

-- Take back an armed campaign. Returns its new state (unchanged if it is not armed), or nil if there is no such campaign.
function armed.campaign_disarm(id, now)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c ~= nil and c.state == 'armed' then
            armed.take_back(c, now)
        end
        return c and box.space.store_campaigns:get(id).state
    end)
end

-- Let an armed campaign go. Returns the batons to put, none if it was fired before; and the reason if it stays armed:
-- {campaign, at} that it repeats, `unapproved` or `expired`. nil alone: there is no such campaign. `alone`: its approval
-- is done without. `more`: further entries of its policy.
function armed.campaign_fire_armed(id, segments, now, given, guard, alone, more)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil then
            return nil
        elseif c.state ~= 'armed' then
            box.space.store_campaigns:update(id, {{'=', 'state', c.state}}) -- as in campaign_fire
            return {}
        end
        local approval = c.policy.armed.approval
        if approval ~= nil and not alone and approval.by == nil then
            return nil, 'unapproved'
        elseif approval ~= nil and not alone and approval.expires_at <= now then
            return nil, 'expired'
        end
        local policy = c.policy
        for name, value in pairs(more) do
            policy[name] = value
        end
        with_policy(c, policy)
        local batons, first = campaigns.let_go(box.space.store_campaigns:get(id), segments, now, given, guard)
        if first ~= nil then
            with_policy(c, c.policy) -- as it was
        end
        return batons, first
    end)
end

return armed

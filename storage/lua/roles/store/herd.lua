-- The herd governor's part of the store: how fast each node may reach people of a paced campaign, and what the newsroom
-- and the governing node have told. Kept in memory only, as all of it is told again within seconds. After a restart, or
-- while no node governs, campaigns that the load should govern get a small share: nobody knows what the site bears.

local atomic = require('roles.atomic')
local clock = require('roles.clock')
local nodes = require('roles.store.nodes')
local campaigns = require('roles.store.campaigns')
local herd = {}

local START, SILENT = 0.05, 0.1 -- campaigns/herd.py has them too
local STEER_VALID = 10 -- seconds
local SPREAD = 0.1 -- of the rate, divided evenly among the nodes; the rest goes by how many batches wait on each

local posted -- {load, clock}: what the newsroom has posted last
local steered -- {share, text, clock}: what the governing node has found
local waiting = {} -- campaign as text -> node -> batches that wait there, as it has told last

-- The newsroom's load, 0 to 1.
function herd.load_note(load)
    posted = {load, clock.now()}
end

-- The governing node's share of each governed campaign's rate, and what it has to say, as JSON that the store does not read.
function herd.herd_steer(share, text)
    steered = {share, text, clock.now()}
end

local function firing()
    local list = {}
    for _, c in box.space.store_campaigns.index.state:pairs({'firing'}) do
        if c['policy.herd'] ~= nil then
            table.insert(list, c)
        end
    end
    return list
end

local function share()
    return steered ~= nil and clock.now() < steered[3] + STEER_VALID and steered[1] or SILENT
end

-- The ids of the campaigns under way that the load governs; the load that was posted last and its age in seconds; the
-- share and the text of the governing node, and their age. Each nil if there is none.
function herd.herd_state()
    local governed = {}
    for _, c in ipairs(firing()) do
        if c['policy.herd.governed'] then
            table.insert(governed, c.id)
        end
    end
    return governed, posted and posted[1], posted and clock.now() - posted[2],
        steered and steered[1], steered and steered[2], steered and clock.now() - steered[3]
end

-- People a second over the whole ring.
local function rate_of(c, now)
    local pace = c.policy.herd
    local rate = pace.rate
    if pace.ramp > 0 then
        rate = rate * (START + (1 - START) * math.min(1, math.max(0, now - tonumber(c.fired_at)) / 1000 / pace.ramp))
    end
    return pace.governed and rate * share() or rate
end

-- This node's part of a campaign's rate: by how many of its batches wait here and elsewhere. A node that may hold a
-- lease keeps its part, though nobody hears of it: it may be sending.
local function part_of(id, node, batches)
    local key, sum, living = tostring(id), 0, 0
    waiting[key] = waiting[key] or {}
    waiting[key][node] = batches
    for _, row in ipairs(box.space.store_nodes:select()) do
        if row.status ~= 'forgotten' and not nodes.lease_over(row) then
            living, sum = living + 1, sum + (waiting[key][row.name] or 0)
        end
    end
    living = math.max(1, living)
    return SPREAD / living + (1 - SPREAD) * (sum > 0 and batches / sum or 1 / living)
end

-- told: {campaign, batches that wait on this node} each. Returns {campaign, people a second that this node may reach}
-- each; -1 if the campaign is over.
function herd.herd_rates(node, told, now)
    local rates, known = {}, {}
    for _, entry in ipairs(told) do
        local c = box.space.store_campaigns:get(entry[1])
        if c == nil or campaigns.over(c) or c.policy.herd == nil then
            table.insert(rates, {entry[1], -1})
        else
            table.insert(rates, {entry[1], rate_of(c, now) * part_of(c.id, node, entry[2])})
            known[tostring(c.id)] = true
        end
    end
    for key, by_node in pairs(waiting) do
        if not known[key] then
            by_node[node] = nil
            if next(by_node) == nil then
                waiting[key] = nil
            end
        end
    end
    return rates
end

-- A person changes a campaign's rate, people a second. Returns its state, and whether it has changed: not that of a
-- campaign that has ended or was fired without a rate. nil: there is no such campaign.
function herd.campaign_rate(id, rate)
    return atomic(function()
        local c = box.space.store_campaigns:get(id)
        if c == nil then
            return nil
        elseif campaigns.over(c) or c.policy.herd == nil then
            return c.state, false
        end
        local policy = c.policy
        policy.herd.rate = rate
        box.space.store_campaigns:update(id, {{'=', 'policy', setmetatable(policy, {__serialize = 'map'})}})
        return c.state, true
    end)
end

return herd

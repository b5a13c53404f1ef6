-- Lanes: which of a tube's ready tasks are taken first. The lane of a task is its `pri` on the tube: the tube takes the
-- lowest first, and of one lane the oldest.

local fiber = require('fiber')

local lanes = {MIDDLE = 0, UPPER = 1, LOWER = 2} -- campaigns/lane.py has them too

-- Not below 0, as the rock's pri is unsigned. Tasks that an earlier version put have 0, too: they are taken first.
local PRIS = {[lanes.UPPER] = 0, [lanes.MIDDLE] = 1, [lanes.LOWER] = 2}
local STATE, PRI = 2, 6 -- fields of a tube's row

-- In the order of takes.
lanes.IN_ORDER = {0, 1, 2}

-- A lane that a later version made is the middle one here.
function lanes.pri(lane)
    return PRIS[tonumber(lane)] or PRIS[lanes.MIDDLE]
end

-- Whether the next task to be taken is of the upper lane.
function lanes.upper_ready(name)
    local row = box.space[name].index[1]:min({'r'})
    return row ~= nil and row[PRI] == PRIS[lanes.UPPER]
end

local bells = {} -- tube -> those who wait for its upper lane

-- A trigger of the space sees every way in which a task gets ready: put, given back, brought back, its delay over.
local function bell_of(name)
    local bell = bells[name]
    if bell == nil then
        bell = {waiting = 0, cond = fiber.cond()}
        local function ring()
            bell.cond:broadcast()
        end
        box.space[name]:on_replace(function(_, row)
            if bell.waiting > 0 and row ~= nil and row[STATE] == 'r' and row[PRI] == PRIS[lanes.UPPER] then
                box.on_commit(ring)
            end
        end)
        bells[name] = bell
    end
    return bell
end

-- Wait until a task of the upper lane gets ready, at most `seconds`. Returns whether one did.
function lanes.wait_upper(name, seconds)
    local bell = bell_of(name)
    bell.waiting = bell.waiting + 1
    local ok, rung = pcall(bell.cond.wait, bell.cond, seconds)
    bell.waiting = bell.waiting - 1
    if not ok then
        error(rung, 0) -- the fiber is cancelled
    end
    return rung
end

return lanes

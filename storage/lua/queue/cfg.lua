-- `queue.cfg`: the options of the module, and the call that sets them.

local VALID = {
    ttr = function(value) return type(value) == 'number' and value >= 0 end,
    in_replicaset = function(value) return type(value) == 'boolean' end,
}

return setmetatable({ttr = 0, in_replicaset = false}, {__call = function(self, opts)
    for option, value in pairs(opts or {}) do
        if VALID[option] == nil then
            error(('Unknown option %s'):format(option))
        elseif not VALID[option](value) then
            error(('Invalid value of %s: %s'):format(option, tostring(value)))
        end
    end
    for option, value in pairs(opts or {}) do
        self[option] = value
    end
end})

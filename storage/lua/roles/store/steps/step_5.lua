-- Version 5: what makes a campaign trustworthy.

local step = {}

function step.rows()
end

return step
